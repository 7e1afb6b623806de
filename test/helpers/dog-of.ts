/** `dog` as people use it, against a cluster of real sheep. */
import * as assert from 'uvu/assert';
import type { RealSheep } from './real-cluster.js';
import { type DogResult, dog } from './run-dog.js';

const DEADLINE_MS = 120_000;

/** One command line (split at blanks) to this sheep. */
export function dogOf(sheep: RealSheep, line: string): Promise<DogResult> {
  return dog([...line.split(' '), '-p', String(sheep.port)], { deadlineMs: DEADLINE_MS });
}

/** The same, which must succeed. */
export async function dogDone(sheep: RealSheep, line: string): Promise<DogResult> {
  const result = await dogOf(sheep, line);
  assert.is(result.exit, 0, `dog ${line}: exit ${result.exit}\n${result.stdout}${result.stderr}`);
  return result;
}

/** What it prints with --json. */
export async function dogJson<T>(sheep: RealSheep, line: string): Promise<T> {
  return JSON.parse((await dogDone(sheep, `${line} --json`)).stdout) as T;
}
