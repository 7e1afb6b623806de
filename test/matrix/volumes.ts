/**
 * What a cell does to volumes without the client under test: by control calls, which share no code with the client's
 * door.
 */
import * as assert from 'uvu/assert';
import type { VdiInfo, VdiRef } from '../../src/control/api.js';
import { ControlClient } from '../../src/control/client.js';
import { RealCluster } from '../helpers/real-cluster.js';
import { portsForTgt } from '../helpers/tgt.js';

export const KIB = 1024;
export const MIB = 1024 * KIB;
/** Of the cluster's default: 4 MiB. */
export const OBJECT_BYTES = 4 * MIB;
const CALL_DEADLINE_MS = 30_000;

export async function startCluster(): Promise<RealCluster> {
  return RealCluster.start({ sheep: 3, copies: 2, ports: await portsForTgt(3) });
}

export async function endCluster(cluster: RealCluster, failed: boolean): Promise<void> {
  if (failed) process.stderr.write(`${cluster.tails()}\n`);
  await cluster.stop();
}

export async function create(cluster: RealCluster, name: string, sizeBytes: number): Promise<void> {
  await cluster.call('vdi.create', { name, sizeBytes });
}

/** Fills a part of a volume with one byte. */
export async function fill(
  cluster: RealCluster,
  name: string,
  byte: number,
  offset: number,
  length: number,
): Promise<void> {
  for (let done = 0; done < length; done += OBJECT_BYTES) {
    const part = Buffer.alloc(Math.min(OBJECT_BYTES, length - done), byte);
    await cluster.call('vdi.write', { name, offset: offset + done }, part);
  }
}

export async function write(cluster: RealCluster, name: string, bytes: Uint8Array): Promise<void> {
  for (let offset = 0; offset < bytes.length; offset += OBJECT_BYTES) {
    const part = Buffer.from(bytes.subarray(offset, offset + OBJECT_BYTES));
    await cluster.call('vdi.write', { name, offset }, part);
  }
}

/** Reads through the first sheep, which the clients under test do not use. */
export async function read(
  cluster: RealCluster,
  volume: VdiRef,
  offset: number,
  length: number,
): Promise<Buffer> {
  const client = await ControlClient.connect({ host: '127.0.0.1', port: cluster.sheep[0]!.port });
  const parts: Buffer[] = [];
  try {
    for (let done = 0; done < length; done += OBJECT_BYTES) {
      const part = { offset: offset + done, length: Math.min(OBJECT_BYTES, length - done) };
      const signal = AbortSignal.timeout(CALL_DEADLINE_MS);
      const { blob } = await client.call('vdi.read', { ...volume, ...part }, { signal });
      parts.push(Buffer.from(blob ?? []));
    }
  } finally {
    client.close();
  }
  return Buffer.concat(parts);
}

/** Fails unless that part holds nothing but the byte. */
export async function holds(
  cluster: RealCluster,
  volume: VdiRef,
  byte: number,
  offset: number,
  length: number,
): Promise<void> {
  const bytes = await read(cluster, volume, offset, length);
  assert.is(bytes.length, length, 'bytes read');
  const wrong = bytes.findIndex((value) => value !== byte);
  const where = `${volume.name}${volume.tag === undefined ? '' : `@${volume.tag}`} at ${offset + wrong}`;
  assert.ok(wrong === -1, `${where} is ${bytes[wrong]}, not ${byte}`);
}

export async function snapshot(cluster: RealCluster, name: string, tag: string): Promise<void> {
  await cluster.call('vdi.snapshot', { name, tag });
}

/** All rows of a name: its working volume and its snapshots. */
export function versions(cluster: RealCluster, name: string): Promise<VdiInfo[]> {
  return cluster.call('vdi.list', { name });
}

export async function tags(cluster: RealCluster, name: string): Promise<string[]> {
  return (await versions(cluster, name)).filter((row) => row.snapshot).map((row) => row.tag);
}
