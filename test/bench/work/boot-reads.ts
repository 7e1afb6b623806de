/** What a guest reads while it boots, roughly: files in sequence, and small blocks of metadata in between. */
import { scatteredStep } from '../scatter.js';

const KIB = 1024;
const LARGE_BYTES = 64 * KIB;
const SMALL_BYTES = 4 * KIB;
/** 15 MiB and 1 MiB. */
const LARGE_READS = 240;
const SMALL_READS = 256;
/** A file of 2 MiB, then another somewhere else. */
const READS_PER_FILE = 32;

/** Lines for qemu-io, 16 MiB in all; the same for every clone of an image, as with real guests. */
export function bootReads(imageBytes: number): string[] {
  const fileBytes = READS_PER_FILE * LARGE_BYTES;
  const fileStep = scatteredStep(imageBytes, fileBytes);
  const wholeFiles = Math.max(1, Math.floor(imageBytes / fileBytes)) * fileBytes;
  const smallStep = scatteredStep(imageBytes, SMALL_BYTES);
  return Array.from({ length: SMALL_READS }, (_, index) => {
    const small = read((index * smallStep) % imageBytes, SMALL_BYTES);
    if (index >= LARGE_READS) return [small];
    const file = (Math.floor(index / READS_PER_FILE) * fileStep) % wholeFiles;
    return [read(file + (index % READS_PER_FILE) * LARGE_BYTES, LARGE_BYTES), small];
  }).flat();
}

function read(at: number, bytes: number): string {
  return `read -q ${at} ${bytes}`;
}
