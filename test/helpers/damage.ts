/** Damage done to the store of a sheep behind its back, running or not: what disks do. */
import { closeSync, openSync, readdirSync, readSync, rmSync, truncateSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import type { RealCluster, RealSheep } from './real-cluster.js';

export const OBJECT_BYTES = 4 * 1024 * 1024;
/** A slot: header and table of checksums of a 4 MiB object (src/store/object-file.ts). */
const SLOT_BYTES = 8192;
const SLOT_HEADER_BYTES = 64;

/** Where the replica of an object lies on this sheep. */
export function replicaFile(sheep: RealSheep, oid: string): string {
  const store = join(sheep.dir, 'store');
  const found = readdirSync(store, { recursive: true, encoding: 'utf8' }).find((name) => name.endsWith(oid));
  assert.ok(found, `sheep ${sheep.index} has ${oid}`);
  return join(store, found);
}

/** Flips a bit of one block. */
export function flipBlock(sheep: RealSheep, oid: string, block: number): void {
  flipByte(replicaFile(sheep, oid), block * 4096);
}

/** Flips a bit in each of the two tables of checksums, or in one of them, at the entry of a block. */
export function flipChecksum(
  sheep: RealSheep,
  oid: string,
  block: number,
  slots: readonly (0 | 1)[] = [0, 1],
): void {
  const file = replicaFile(sheep, oid);
  for (const slot of slots) flipByte(file, OBJECT_BYTES + slot * SLOT_BYTES + SLOT_HEADER_BYTES + block * 4);
}

export function loseReplica(sheep: RealSheep, oid: string): void {
  rmSync(replicaFile(sheep, oid));
}

export function cutReplica(sheep: RealSheep, oid: string, bytes: number): void {
  truncateSync(replicaFile(sheep, oid), bytes);
}

function flipByte(path: string, offset: number): void {
  const file = openSync(path, 'r+');
  const byte = Buffer.alloc(1);
  readSync(file, byte, 0, 1, offset);
  writeSync(file, Buffer.from([byte[0]! ^ 1]), 0, 1, offset);
  closeSync(file);
}

/** Object ids of the first objects of a volume, and for each the sheep that hold it, the primary first. */
export function layoutOf(cluster: RealCluster, name: string, count: number) {
  const objects = Array.from({ length: count }, async (_, index) => {
    const { oid, holders } = await cluster.call('vdi.object', { name, index });
    return { oid, at: holders.map(({ port }) => cluster.sheep.find((sheep) => sheep.port === port)!) };
  });
  return Promise.all(objects);
}
