/** Sizes as QEMU's tools read and print them. Pure. */

const suffixes = ['b', 'k', 'm', 'g', 't', 'p', 'e'];
const printed = ['', 'Ki', 'Mi', 'Gi', 'Ti', 'Pi', 'Ei'];
const SIZE_MAX = 2 ** 63;

/** Bytes; 'range' from 2^63 on and below zero. Above 2^53 the number is rounded, which no volume comes near. */
export function parseSize(text: string): number | 'invalid' | 'range' {
  if (/^-\d/.test(text)) return 'range';
  if (/^0x[0-9a-f]+$/i.test(text)) return inRange(Number(text));
  const match = /^(\d+(?:\.\d*)?)([bkmgtpe]?)$/i.exec(text);
  if (match === null) return 'invalid';
  const power = Math.max(0, suffixes.indexOf(match[2]!.toLowerCase()));
  return inRange(Math.floor(Number(match[1]) * 1024 ** power));
}

function inRange(bytes: number): number | 'range' {
  return bytes < SIZE_MAX ? bytes : 'range';
}

/** "64 MiB", "0.977 KiB": three digits, in the unit of which there is at least (nearly) one. */
export function formatSize(bytes: number): string {
  // The next unit begins at 1000 of the one before, so that no more than three digits are needed.
  const scaled = bytes * 1.024;
  const unit = scaled < 1024 ? 0 : Math.min(printed.length - 1, Math.floor(Math.log2(scaled) / 10));
  return `${Number((bytes / 1024 ** unit).toPrecision(3))} ${printed[unit]}B`;
}

/** Sizes of images are whole sectors. */
export function roundToSector(bytes: number): number {
  return Math.ceil(bytes / 512) * 512;
}
