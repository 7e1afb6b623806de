import type { BlockDevice } from '../../src/volume/device.js';

/** Extents that are asked for at once. */
const EXTENTS_MAX = 3;

/**
 * Reads as whoever copies a volume does (nbdcopy, qemu-img convert, a backup): asks where data is, reads that, and
 * takes the rest for zeros. Each block is looked at once while the read lasts, as any read's blocks are.
 */
export async function sparseRead(device: BlockDevice, offset: number, length: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(length);
  let at = 0;
  while (at < length) {
    const extents = await device.blockStatus(offset + at, length - at, EXTENTS_MAX);
    if (extents.length === 0) throw new Error('no extent for a range that is not empty');
    for (const { lengthBytes, zero } of extents) {
      if (lengthBytes < 1 || at + lengthBytes > length) throw new Error(`an extent of ${lengthBytes} bytes`);
      if (!zero) bytes.set(await device.read(offset + at, lengthBytes), at);
      at += lengthBytes;
    }
  }
  return bytes;
}

/** Reads one way or the other, every so many-th time by extents (0: never). */
export class Reads {
  private count = 0;

  constructor(private readonly sparseEvery: number) {}

  read(device: BlockDevice, offset: number, length: number): Promise<Uint8Array> {
    const isSparse = this.sparseEvery > 0 && ++this.count % this.sparseEvery === 0;
    return isSparse ? sparseRead(device, offset, length) : device.read(offset, length);
  }
}
