/** The raw file that is copied into volumes: random bytes, made once, in which nothing is a hole. */
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import type { Place } from './work.js';

const CHUNK_BYTES = 4 * 2 ** 20;

/** Its path; as long as the volume. */
export async function sourceFile({ folder, sizeBytes }: Place): Promise<string> {
  const path = join(folder, 'source.raw');
  if (existsSync(path)) return path;
  const file = await open(path, 'wx');
  try {
    for (let at = 0; at < sizeBytes; at += CHUNK_BYTES)
      await file.write(randomBytes(Math.min(CHUNK_BYTES, sizeBytes - at)));
    await file.sync();
  } finally {
    await file.close();
  }
  return path;
}
