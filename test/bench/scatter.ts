/** An order for clients that can only step through a volume: far apart, no block twice before all had their turn. */

/** The golden section: no other step keeps the first n blocks of a walk further apart from each other, for every n. */
const SECTION = 0.618_033_988_75;
/** qemu-img takes no step of 2 GiB or more. */
const STEP_BYTES_MAX = 2 ** 31 - 1;

/** Bytes from one request to the next, around and around a volume. */
export function scatteredStep(volumeBytes: number, blockBytes: number): number {
  const blocks = Math.floor(volumeBytes / blockBytes);
  const most = Math.floor(STEP_BYTES_MAX / blockBytes);
  let step = Math.max(1, Math.min(Math.round(blocks * SECTION), most));
  // Without a common divisor the walk visits every block.
  while (step > 1 && commonDivisor(blocks, step) !== 1) step--;
  return step * blockBytes;
}

/** Where a walk begins; each run elsewhere, so that none finds what the one before it left in caches. */
export function randomBlock(volumeBytes: number, blockBytes: number): number {
  return Math.floor(Math.random() * Math.floor(volumeBytes / blockBytes)) * blockBytes;
}

function commonDivisor(a: number, b: number): number {
  return b === 0 ? a : commonDivisor(b, a % b);
}
