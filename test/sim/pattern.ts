/**
 * What the simulated clients write: every 512-byte sector names the write it came from and its own place, so that a
 * read can say of each sector which write it shows, and a torn or misplaced sector is never mistaken for a good one.
 *
 * Sector of write w at index i: u32 w, u32 i, then 126 times the same u32 mixed from both. All zeros: value 0.
 */
export const SECTOR_BYTES = 512;
const SECTOR_WORDS = SECTOR_BYTES / 4;

/** Bytes of a write; the offset and length are multiples of SECTOR_BYTES. Write ids are >= 1. */
export function patternOf(writeId: number, offsetBytes: number, lengthBytes: number): Uint8Array {
  const words = new Uint32Array(lengthBytes / 4);
  const first = offsetBytes / SECTOR_BYTES;
  for (let s = 0; s < lengthBytes / SECTOR_BYTES; s++) {
    const at = s * SECTOR_WORDS;
    words.fill(mix(writeId, first + s), at, at + SECTOR_WORDS);
    words[at] = writeId;
    words[at + 1] = first + s;
  }
  return new Uint8Array(words.buffer);
}

/** The write each sector shows: an id, 0 for zeros, or -1 for bytes that no single write of this place wrote. */
export function writesIn(data: Uint8Array, offsetBytes: number): Int32Array {
  const bytes = data.byteOffset % 4 === 0 ? data : data.slice();
  const words = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
  const first = offsetBytes / SECTOR_BYTES;
  const out = new Int32Array(bytes.length / SECTOR_BYTES);
  for (let s = 0; s < out.length; s++) {
    const at = s * SECTOR_WORDS;
    const id = words[at]!;
    const index = id === 0 ? 0 : first + s;
    const rest = id === 0 ? 0 : mix(id, index);
    const good = words[at + 1] === index && words[at + 2] === rest && repeats(bytes, s * SECTOR_BYTES + 8);
    out[s] = good ? id : -1;
  }
  return out;
}

/** All words from here to the end of the sector are equal: one memcmp of the range with itself, shifted. */
function repeats(bytes: Uint8Array, start: number): boolean {
  const end = start - 8 + SECTOR_BYTES;
  return Buffer.compare(bytes.subarray(start, end - 4), bytes.subarray(start + 4, end)) === 0;
}

function mix(writeId: number, index: number): number {
  return (Math.imul(writeId, 0x9e3779b1) ^ Math.imul(index + 1, 0x85ebca6b)) >>> 0 || 1;
}
