# SPDX-License-Identifier: Apache-2.0
"""What the host's rows ask of its interfaces beside flows: keys of `other_config`. Writes nothing itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from alcor.dataplane.rows import HostFeature, Interface, Row, Setting


class Settings:
    """The values that are wanted, by interface; `rows` are those of the host's own scope."""

    def __init__(self, features: Sequence[HostFeature]) -> None:
        settings = [setting for feature in features for setting in feature.settings]
        self._kinds: dict[type[Row], Setting[Any]] = {setting.kind: setting for setting in settings}
        self._keys = [key for setting in settings for key in setting.keys]
        self._wanted: dict[str, dict[str, Mapping[str, str]]] = {}  # interface -> key of a row -> values
        self._interfaces: dict[str, str] = {}  # key of a row -> the interface that it speaks of

    def changed(self, keys: Iterable[str], rows: Mapping[str, Row]) -> set[str]:
        """Rows came, changed or went. Answers the interfaces that they speak of, or did."""
        touched = set()
        for key in keys:
            row = rows.get(key)
            setting = self._kinds.get(type(row)) if row is not None else None
            if key in self._interfaces:
                iface_id = self._interfaces.pop(key)
                del self._wanted[iface_id][key]
                touched.add(iface_id)
            if setting is not None:
                iface_id = self._interfaces[key] = setting.iface_id(row)
                self._wanted.setdefault(iface_id, {})[key] = setting.values(row)
                touched.add(iface_id)
        return touched

    def lacking(self, interface: Interface, *, is_whole: bool) -> dict[str, str]:
        """What of its `other_config` is to be set; "" is to be taken away, once the host's rows are whole."""
        has = dict(interface.other_config)
        wanted = dict.fromkeys(self._keys, "") if is_whole else {}
        for values in self._wanted.get(interface.iface_id, {}).values():
            wanted.update(values)
        return {key: value for key, value in wanted.items() if has.get(key, "") != value}
