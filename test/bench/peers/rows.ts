/** What the systems are compared by. All writes are durable: what is acknowledged earlier is another promise. */
import type { Workload } from '../workloads.js';

const KIB = 1024;
const MIB = 1024 * KIB;

export const SNAPSHOT_ROW = 'snapshot of the prefilled volume';
export const SNAPSHOT_ALONE_ROW = 'the same, less a command that only looks';
export const WRITES_AFTER_ROW = '200 durable 4 KiB writes right after a snapshot';
export const WRITES_AFTER = 200;

/** Requests of 4 KiB are scattered over the volume, as far as it can be walked by qemu-img, which all can have. */
export function peerRows(sizeBytes: number): Workload[] {
  const common = { client: 'qemu-img', quick: true } as const;
  const small = { ...common, blockBytes: 4 * KIB, scatteredOverBytes: sizeBytes };
  const large = { ...common, blockBytes: MIB, depth: 8 };
  const write = { direction: 'write', durable: 'fua' } as const;
  const read = { direction: 'read', durable: 'no' } as const;
  return [
    { name: '4 KiB durable write, depth 1', ...small, depth: 1, direction: 'write', durable: 'flush' },
    { name: '4 KiB durable write, depth 32', ...small, depth: 32, ...write },
    { name: '4 KiB scattered read, depth 1', ...small, depth: 1, ...read },
    { name: '4 KiB scattered read, depth 32', ...small, depth: 32, ...read },
    { name: '1 MiB durable write, depth 8', ...large, ...write },
    { name: '1 MiB read, depth 8', ...large, ...read },
  ];
}

/** What `--all` adds: other depths and sizes. */
export function morePeerRows(sizeBytes: number): Workload[] {
  const common = { client: 'qemu-img', quick: false, scatteredOverBytes: sizeBytes } as const;
  const small = { ...common, blockBytes: 4 * KIB };
  const middle = { ...common, blockBytes: 64 * KIB, depth: 16 };
  const write = { direction: 'write', durable: 'fua' } as const;
  const read = { direction: 'read', durable: 'no' } as const;
  const flushed = { direction: 'write', durable: 'flush', flushEvery: 32 } as const;
  const unaligned = { blockBytes: 512, depth: 1, direction: 'write', durable: 'flush' } as const;
  return [
    { name: '4 KiB durable write, depth 8', ...small, depth: 8, ...write },
    { name: '4 KiB durable write, depth 128', ...small, depth: 128, ...write },
    { name: '4 KiB write, depth 32, a flush after each 32', ...small, depth: 32, ...flushed },
    { name: '4 KiB scattered read, depth 8', ...small, depth: 8, ...read },
    { name: '4 KiB scattered read, depth 128', ...small, depth: 128, ...read },
    { name: '64 KiB durable write, depth 16', ...middle, ...write },
    { name: '64 KiB scattered read, depth 16', ...middle, ...read },
    { name: '512 B durable write, depth 1', ...common, ...unaligned },
  ];
}

/** The writes that each system's copy-on-write has to pay for. */
export function writesAfterSnapshot(sizeBytes: number): Workload {
  return { ...peerRows(sizeBytes)[0]!, name: WRITES_AFTER_ROW };
}
