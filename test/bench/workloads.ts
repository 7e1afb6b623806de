/** What the client does: the rows of the table. Each goes to every target. */

export interface Workload {
  readonly name: string;
  readonly client: 'qemu-img' | 'fio';
  readonly direction: 'read' | 'write';
  readonly blockBytes: number;
  readonly depth: number;
  /**
   * What follows each write: nothing; a flush of its own; or it carries FUA, as a guest's disk does with a cache in
   * write-through (with qemu-img, which cannot flush more often than its depth; fio flushes after each at any depth).
   */
  readonly durable: 'no' | 'flush' | 'fua';
  /** qemu-img only, with 'flush': after so many writes, at least as many as the depth, which it is by default. */
  readonly flushEvery?: number;
  /** Part of `--quick`. */
  readonly quick: boolean;
  /** qemu-img only: requests far apart, all over a volume of so many bytes. Otherwise in sequence. */
  readonly scatteredOverBytes?: number;
}

const KIB = 1024;
const MIB = 1024 * KIB;

type Row = [
  name: string,
  Workload['client'],
  Workload['direction'],
  number,
  number,
  Workload['durable'],
  boolean,
];

const rows: readonly Row[] = [
  ['4 KiB read, depth 1', 'qemu-img', 'read', 4 * KIB, 1, 'no', true],
  ['4 KiB read, depth 32', 'qemu-img', 'read', 4 * KIB, 32, 'no', true],
  ['4 KiB random read, depth 32', 'fio', 'read', 4 * KIB, 32, 'no', true],
  ['4 KiB write, depth 1', 'qemu-img', 'write', 4 * KIB, 1, 'no', true],
  ['4 KiB write, depth 32', 'qemu-img', 'write', 4 * KIB, 32, 'no', true],
  ['4 KiB random write, depth 32', 'fio', 'write', 4 * KIB, 32, 'no', true],
  ['4 KiB write and flush, depth 1', 'qemu-img', 'write', 4 * KIB, 1, 'flush', true],
  ['4 KiB write with FUA, depth 32', 'qemu-img', 'write', 4 * KIB, 32, 'fua', true],
  ['4 KiB random write, flush after each, depth 32', 'fio', 'write', 4 * KIB, 32, 'flush', false],
  ['64 KiB read, depth 1', 'qemu-img', 'read', 64 * KIB, 1, 'no', false],
  ['64 KiB read, depth 32', 'qemu-img', 'read', 64 * KIB, 32, 'no', true],
  ['64 KiB write, depth 1', 'qemu-img', 'write', 64 * KIB, 1, 'no', false],
  ['64 KiB write, depth 32', 'qemu-img', 'write', 64 * KIB, 32, 'no', true],
  ['64 KiB write with FUA, depth 32', 'qemu-img', 'write', 64 * KIB, 32, 'fua', false],
  ['1 MiB read, depth 4', 'qemu-img', 'read', MIB, 4, 'no', true],
  ['1 MiB write, depth 4', 'qemu-img', 'write', MIB, 4, 'no', true],
  ['1 MiB write with FUA, depth 4', 'qemu-img', 'write', MIB, 4, 'fua', false],
];

export const workloads: readonly Workload[] = rows.map(
  ([name, client, direction, blockBytes, depth, durable, quick]) => ({
    ...{ name, client, direction, blockBytes, depth, durable, quick },
  }),
);
