/** Small files that are replaced as a whole: written beside, synced, renamed. A crash leaves the old or the new. */
import { crc32 } from '../base/bytes.js';
import { withBallast } from './ballast.js';
import { type Disk, DiskError } from './disk.js';

/** Bytes of the whole file; undefined when it is missing. */
export function readSmall(disk: Disk, path: string): Buffer | undefined {
  try {
    const file = disk.open(path);
    try {
      const bytes = Buffer.alloc(file.size());
      return bytes.subarray(0, file.read(bytes, 0));
    } finally {
      file.close();
    }
  } catch (error) {
    if (error instanceof DiskError && error.code === 'missing') return undefined;
    throw error;
  }
}

/** Durable when it resolves. */
export async function replaceSmall(disk: Disk, path: string, bytes: Uint8Array): Promise<void> {
  const beside = `${path}.new`;
  const file = withBallast(disk, () => disk.open(beside, { create: true }));
  try {
    withBallast(disk, () => {
      file.truncate(0);
      file.write([bytes], 0);
    });
    await file.sync();
  } finally {
    file.close();
  }
  disk.rename(beside, path);
  await disk.syncDir('.');
}

/** Text whose last line is the CRC-32 of the rest in hexadecimal: readable, and checked. */
export function sealText(text: string): Buffer {
  const body = Buffer.from(text);
  return Buffer.concat([body, Buffer.from(`${crc32(body).toString(16).padStart(8, '0')}\n`)]);
}

/** The text of a sealed file; undefined when it does not verify. */
export function unsealText(bytes: Buffer): string | undefined {
  const bodyLength = bytes.length - 9;
  if (bodyLength < 0) return undefined;
  const body = bytes.subarray(0, bodyLength);
  const seal = `${crc32(body).toString(16).padStart(8, '0')}\n`;
  return bytes.toString('latin1', bodyLength) === seal ? body.toString() : undefined;
}
