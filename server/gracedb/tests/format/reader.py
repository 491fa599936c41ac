"""Reads a GraceDb database by nothing but docs/gracedb-format.md.

Usage: reader.py FOLDER. Prints every row: key and value in hexadecimal digits; below it its fields,
and the length and checksum of its large values. Names in here are those of the page. It reads
databases in the clear, checks every checksum it comes by, changes nothing, and needs nothing but
Python 3.
"""

import os
import struct
import sys

FIRST = 4096
MAGIC = {"gj": b"GraceDbJ", "gi": b"GraceDbI", "gm": b"GraceDbM"}
TRANSACTION, CHUNK, MARK, LIFE, END, EDITS = 1, 2, 4, 5, 6, 16


# --- numbers and checksums ---------------------------------------------------------------------


def _crc_table():
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return table


CRC_TABLE = _crc_table()


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = CRC_TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def of_place(database, number, offset):
    return crc32c(database + struct.pack("<QQ", number, offset))


class Bytes:
    """Takes things off the front of bytes."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def __bool__(self):
        return self.at < len(self.data)

    def take(self, count):
        taken = self.data[self.at : self.at + count]
        if len(taken) != count:
            raise ValueError("cut short")
        self.at += count
        return taken

    def u8(self):
        return self.take(1)[0]

    def u32(self):
        return struct.unpack("<I", self.take(4))[0]

    def u64(self):
        return struct.unpack("<Q", self.take(8))[0]

    def varint(self):
        value = shift = 0
        while True:
            byte = self.u8()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7

    def text(self):
        return self.take(self.varint())

    def rest(self):
        return self.take(len(self.data) - self.at)


# --- files -------------------------------------------------------------------------------------


class File:
    """A file whose header is sound."""

    def __init__(self, folder, number, ending):
        self.name = f"{number:010}.{ending}"
        with open(os.path.join(folder, self.name), "rb") as file:
            self.data = file.read()
        head = Bytes(self.data[:FIRST])
        magic, version, length = head.take(8), head.u32(), head.u32()
        self.database, self.number = head.take(16), head.u64()
        self.align, cipher, _key, _flags = head.u32(), head.u32(), head.u32(), head.u32()
        assert magic == MAGIC[ending], f"{self.name}: {magic}"
        assert version == 2, f"{self.name}: format version {version}"
        assert length == FIRST and self.number == number
        assert crc32c(self.data[:4092]) == struct.unpack("<I", self.data[4092:FIRST])[0]
        assert cipher == 0, f"{self.name}: it is encrypted"

    def place(self, offset):
        return of_place(self.database, self.number, offset)


class Record:
    """What stands at an offset of a journal segment or meta file, if it is a record."""

    def __init__(self, file, offset):
        self.number, self.offset = file.number, offset
        head = file.data[offset : offset + 48]
        self.is_one = False
        if len(head) < 48 or head[:4] != b"GrRc":
            return
        fields = struct.unpack("<4sBBHIIQQQII", head)
        _, self.kind, flags, zero, self.length, self.crc, self.life = fields[:7]
        self.sequence, self.synced, zero_2, header_crc = fields[7:]
        if crc32c(head[:44]) ^ file.place(offset) != header_crc:
            return
        assert self.kind in (TRANSACTION, CHUNK, MARK, LIFE, END, EDITS), self.kind
        assert flags & ~1 == 0 and zero == 0 and zero_2 == 0, "a newer or an encrypted file"
        self.payload = file.data[offset + 48 : offset + 48 + self.length]
        self.is_one = len(self.payload) == self.length
        self.last = flags & 1 == 1
        self.end = offset + up_to_multiple(48 + self.length, 8)
        if self.last:
            self.end = up_to_multiple(self.end, file.align)

    def is_whole(self):
        return crc32c(self.payload) == self.crc


def up_to_multiple(number, of):
    return (number + of - 1) // of * of


# --- meta file ---------------------------------------------------------------------------------


class Manifest:
    """What the edits of a meta file lead to."""

    def __init__(self, file):
        self.runs, self.segments, self.schema = {}, {}, ""
        self.flushed = (0, 0, 0, 0)
        self.edition = 0
        offset, sequence, life = FIRST, 0, None
        while True:
            record = Record(file, offset)
            if not record.is_one or record.kind != EDITS or record.sequence != sequence + 1:
                return
            if life not in (None, record.life) or not record.is_whole():
                return
            life, sequence, offset = record.life, record.sequence, record.end
            self.apply(Bytes(record.payload))

    def apply(self, edits):
        edition, _time_ms = edits.varint(), edits.varint()
        assert edition >= self.edition
        self.edition = edition
        while edits:
            code = edits.u8()
            if code == 1:
                level, number = edits.varint(), edits.varint()
                length, _entries, _gone = edits.varint(), edits.varint(), edits.varint()
                _ranges, sequence = edits.varint(), edits.varint()
                _first, _end = edits.text(), edits.text()
                self.runs[number] = {"level": level, "length": length, "sequence": sequence}
            elif code == 2:
                self.runs[edits.varint()]["gone"] = True
            elif code == 3:
                number = edits.varint()
                self.runs[number]["level"] = edits.varint()
            elif code == 4:
                self.flushed = tuple(edits.varint() for _ in range(4))
            elif code == 5:
                number = edits.varint()
                self.segments[number] = edits.varint()
            elif code == 6:
                edits.varint(), edits.varint()
            elif code == 7:
                self.schema = edits.text().decode()
            elif code == 8:
                edits.varint()
            elif code == 9:
                kind, number = edits.varint(), edits.varint()
                (self.segments, self.runs)[kind].pop(number, None)
            else:
                raise ValueError(f"edit {code}")


# --- index segments ----------------------------------------------------------------------------


def section(file, kind, offset, length):
    """The stored bytes of a section."""
    head = struct.pack("<I", kind << 28 | length)
    stored = file.data[offset + 4 : offset + 4 + length]
    crc = struct.unpack_from("<I", file.data, offset + 4 + length)[0]
    assert file.data[offset : offset + 4] == head, f"{file.name} at {offset}: another head"
    assert crc == crc32c(stored) ^ crc32c(head) ^ file.place(offset), f"{file.name} at {offset}"
    return stored


def block(data):
    """Key and value of each entry; a value that is None: the key is gone."""
    count, prefix_len, width, _ = struct.unpack_from("<IHBB", data)
    prefix = data[8 : 8 + prefix_len]
    slots = 8 + prefix_len
    entries = slots + count * (width + 2)
    for at in range(count):
        slot = data[slots + at * (width + 2) :][: width + 2]
        entry = Bytes(data)
        entry.at = entries + int.from_bytes(slot[:width], "little")
        suffix_len, code = entry.varint(), entry.varint()
        suffix = entry.take(suffix_len)
        assert slot[width:] == (suffix + b"\0\0")[:2]
        yield prefix + suffix, entry.take(code - 1) if code else None


def filter_hash(key):
    mask = (1 << 64) - 1

    def fold(a, b):
        product = a * b
        return (product & mask) ^ (product >> 64)

    state = 0x243F6A8885A308D3 ^ len(key)
    words = len(key) // 8
    for at in range(words):
        state = fold(state ^ int.from_bytes(key[8 * at : 8 * at + 8], "little"), 0x9E3779B97F4A7C15)
    return fold(state ^ int.from_bytes(key[8 * words :], "little"), 0xD6E8FEB86659FD93)


def filter_passes(bits, key):
    hashed = filter_hash(key)
    lines = len(bits) // 64
    line = bits[64 * (hashed * lines >> 64) :][:64]
    start, step = hashed & 0xFFFFFFFF, (hashed >> 17 & 0xFFFFFFFF) | 1
    positions = [(start + probe * step & 0xFFFFFFFF) >> 23 for probe in range(6)]
    return all(line[at // 8] >> at % 8 & 1 for at in positions)


def run(folder, number, length):
    """Ranges that are gone, and the entries, of an index segment."""
    file = File(folder, number, "gi")
    assert len(file.data) == length
    at = length - 64
    footer = file.data[at:]
    assert footer[:8] == b"GrIxFoot"
    assert crc32c(footer[:60]) ^ file.place(at) == struct.unpack("<I", footer[60:])[0]
    places = struct.unpack_from("<QIQIQI", footer, 8)
    index = section(file, 1, *places[0:2])
    bits = section(file, 2, *places[2:4])
    ranges = list(block(section(file, 3, *places[4:6])))
    entries, last = [], b""
    for separator, place in block(index):
        place = Bytes(place)
        rows = list(block(section(file, 0, place.varint(), place.varint())))
        assert last < separator <= rows[0][0] or not entries
        assert all(filter_passes(bits, key) for key, _ in rows)
        entries += rows
        last = rows[-1][0]
    assert entries == sorted(entries, key=lambda entry: entry[0])
    return ranges, entries


# --- rows --------------------------------------------------------------------------------------


def delete_range(rows, low, high):
    for key in [key for key in rows if low <= key < high]:
        del rows[key]


def read_runs(folder, manifest, rows):
    lives = [(number, run) for number, run in manifest.runs.items() if "gone" not in run]
    # Deeper levels are older; level 0 goes by transactions.
    lives.sort(key=lambda each: (-each[1]["level"], each[1]["sequence"], each[0]))
    for number, about in lives:
        ranges, entries = run(folder, number, about["length"])
        for low, high in ranges:
            delete_range(rows, low, high)
        for key, value in entries:
            rows.pop(key, None)
            if value is not None:
                rows[key] = value


def apply_transaction(rows, payload):
    operations = Bytes(payload)
    _time_ms = operations.varint()
    while operations:
        code, key = operations.u8(), operations.text()
        if code == 1:
            rows[key] = operations.text()
        elif code == 2:
            rows.pop(key, None)
        elif code == 3:
            delete_range(rows, key, operations.text())
        else:
            raise ValueError(f"operation {code}")


def is_complete(folder, records, life):
    """Whether what ends a segment is not a part of a torn write."""
    following = records[-1].number + 1
    if has_segment(folder, following):
        first = Record(File(folder, following, "gj"), FIRST)
        if first.is_one and (first.kind == LIFE or first.life == life):
            return True
    return all(record.is_whole() for record in records)


def records_of(folder, file, offset, life, sequence):
    """The records of a segment that count, as what opening does says."""
    records = []
    while True:
        record = Record(file, offset)
        if not record.is_one:
            break
        follows = record.sequence == sequence if record.kind == LIFE else record.life == life
        if not follows or (record.kind == TRANSACTION and not record.is_whole()):
            break
        records.append(record)
        life, offset = record.life, record.end
        if record.kind == TRANSACTION:
            assert record.sequence == sequence + 1
            sequence = record.sequence
        if record.kind == END and is_complete(folder, records, life):
            return records, life, sequence, True
    vouched = max([record.synced for record in records], default=0)
    count = sum(record.end <= vouched for record in records)
    for at in range(count, len(records)):
        if records[at].kind == CHUNK and not records[at].is_whole():
            break
        if records[at].last:
            count = at + 1
    return records[:count], life, sequence, False


def has_segment(folder, number):
    return os.path.exists(os.path.join(folder, f"{number:010}.gj"))


def replay(folder, manifest, rows):
    sequence, segment, offset, life = manifest.flushed
    if segment == 0:
        segment, offset = 1, FIRST
    while has_segment(folder, segment):
        file = File(folder, segment, "gj")
        records, life, sequence, goes_on = records_of(folder, file, offset, life, sequence)
        for record in records:
            if record.kind == TRANSACTION:
                apply_transaction(rows, record.payload)
        if not goes_on:
            return
        segment, offset = segment + 1, FIRST


class Larges:
    """Reads large values."""

    def __init__(self, folder):
        self.folder, self.files = folder, {}

    def read(self, parts):
        value = b""
        for segment, offset, length, crc in parts:
            if segment not in self.files:
                self.files[segment] = File(self.folder, segment, "gj")
            record = Record(self.files[segment], offset)
            assert record.is_one and record.kind == CHUNK and record.length == length
            assert record.is_whole() and record.crc == crc
            value += record.payload
        return value


def parse_row(value):
    """Large values, whether the last of them holds the fields, and the fields."""
    row = Bytes(value)
    code = row.varint()
    larges = []
    for _ in range(code // 2):
        parts = []
        for _ in range(row.varint()):
            parts.append((row.varint(), row.varint(), row.varint(), row.u32()))
        larges.append(parts)
    return larges, code % 2 == 1, row.rest()


# --- what the schema says ----------------------------------------------------------------------


def tables_of(schema):
    tables = {}
    for line in schema.splitlines():
        words = line.split()
        if not line.startswith(" "):
            table = {"counter": words[0] == "counter", "name": words[2], "fields": []}
            tables[int(words[1])] = table
        elif words[0] == "key":
            table["key"] = words[1:]
        elif words[0] == "field":
            table["fields"].append((words[1], " ".join(words[2:])))
    return tables


def key_part(key, kind):
    """A field of a key, in words."""
    if kind.startswith("Option<"):
        return key_part(key, kind[7:-1]) if key.u8() else "none"
    if kind == "bool":
        return "true" if key.u8() else "false"
    if kind == "String":
        text = b""
        while True:
            byte = key.take(1)
            if byte == b"\0":
                if key.u8() == 0:
                    return text.hex()
            text += byte
    bits = int(kind[1:])
    value = int.from_bytes(key.take(bits // 8), "big")
    return str(value - (1 << bits - 1) if kind[0] == "i" else value)


def field(row, kind):
    """A field of a row, in words."""
    if kind.startswith("Option<"):
        return field(row, kind[7:-1]) if row.u8() else "none"
    if kind == "bool":
        return "true" if row.u8() else "false"
    if kind in ("u8", "i8"):
        return str(int.from_bytes(row.take(1), "little", signed=kind == "i8"))
    value = row.u8()
    if value > 250:
        value = int.from_bytes(row.take({251: 2, 252: 4, 253: 8, 254: 16}[value]), "little")
    if kind == "String":
        return row.take(value).hex()
    if kind == "Large":
        return f"#{value}"
    return str(value // 2 ^ -(value & 1) if kind[0] == "i" else value)


def words_of(table, key, larges, apart, fields):
    kinds = dict(table["fields"])
    key = Bytes(key)
    of_key = [f"{name}={key_part(key, kinds[name])}" for name in table["key"]]
    assert not key
    if table["counter"]:
        count = struct.unpack("<q", fields)[0]
        return f"  {table['name']} {' '.join(of_key)} count {count}"
    row = Bytes(larges[-1] if apart else fields)
    of_row = [f"{name}={field(row, kind)}" for name, kind in table["fields"]]
    assert not row and all(word in of_row for word in of_key)
    return f"  {table['name']} {' '.join(of_row)}"


def main():
    folder = sys.argv[1]
    metas = [name for name in os.listdir(folder) if name.endswith(".gm") and len(name) == 13]
    manifest = Manifest(File(folder, int(max(metas)[:10]), "gm"))
    rows = {}
    read_runs(folder, manifest, rows)
    replay(folder, manifest, rows)
    tables, large_values = tables_of(manifest.schema), Larges(folder)
    for key, value in sorted(rows.items()):
        print(f"{key.hex()} {value.hex()}")
        table, space = int.from_bytes(key[:2], "big"), key[2]
        if table == 0 or space not in (0, 201):
            continue
        larges, apart, fields = parse_row(value)
        larges = [large_values.read(parts) for parts in larges]
        print(words_of(tables[table], key[3:], larges, apart, fields))
        for large in larges:
            print(f"  {len(large)} bytes, crc32c {crc32c(large):08x}")


main()
