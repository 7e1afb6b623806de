/** Sets of small fake disks, for the tests of this folder. */

import { silentLogger } from '../../../../src/base/log.js';
import { SeededRandom } from '../../../../src/base/random.js';
import type { Disk } from '../../../../src/store/disk.js';
import type { DiskSet } from '../../../../src/store/disks/disk-set.js';
import { type DiskSetOptions, openDiskSet } from '../../../../src/store/disks/open-disk-set.js';
import type { ObjectStore, StoreWrite } from '../../../../src/store/object-store.js';
import { dataOid } from '../../../../src/wire/oid.js';
import { CrashError, type FakeDisk } from '../../../helpers/fake-disk.js';
import { clock, deadline, fakeDisk, filled, KIB, OBJECT, smallLimits } from '../helpers.js';

export { deadline, fakeDisk, filled, KIB, OBJECT };

export const identity = { clusterId: 'c1', nodeId: 'n1' };
export const quickPace = { delayMs: 0, pauseMs: 0, pauseRatio: 0 };

let ids = 0;
/** Different at each call, and the same in each run. */
export function newId(): string {
  return new SeededRandom(++ids).bytes(8).toString('hex');
}

export function optionsFor(disks: readonly Disk[], options: Partial<DiskSetOptions> = {}): DiskSetOptions {
  return {
    disks: disks.map((disk, i) => ({ name: `disk${i}`, disk })),
    clock,
    log: silentLogger,
    identity,
    bootId: 'boot',
    limits: smallLimits,
    newId,
    pace: quickPace,
    ...options,
  };
}

/** The disk as one process sees it: after `end` nothing that this process still does reaches it. */
export function lifeOf(disk: FakeDisk): { disk: Disk; end: () => void } {
  let over = false;
  const methods: Record<string, unknown> = {};
  const names = [
    'open',
    'exists',
    'list',
    'mkdir',
    'rename',
    'link',
    'unlink',
    'rmdir',
    'syncDir',
    'space',
  ] as const;
  for (const name of names) {
    methods[name] = (...args: unknown[]) => {
      if (over) throw new CrashError('the process is dead');
      return (disk[name] as (...all: unknown[]) => unknown).apply(disk, args);
    };
  }
  return {
    disk: methods as unknown as Disk,
    end: () => {
      over = true;
    },
  };
}

export async function openSet(
  disks: readonly Disk[],
  options: Partial<DiskSetOptions> = {},
): Promise<DiskSet> {
  return (await deadline(openDiskSet(optionsFor(disks, options)))).set;
}

export function someDisks(count: number): FakeDisk[] {
  return Array.from({ length: count }, (_, i) => fakeDisk({}, i + 1));
}

/** Object `index` of volume 7. */
export const oidAt = (index: number): bigint => dataOid(7, index);

export function put(
  store: ObjectStore,
  oid: bigint,
  value: number,
  options: Partial<StoreWrite> = {},
): Promise<void> {
  const base = { objectBytes: OBJECT, mode: 'ensure' as const, epoch: 1, offset: 0, sync: false };
  return deadline(store.write({ oid, data: filled(4 * KIB, value), ...base, ...options }));
}

export async function firstByte(store: ObjectStore, oid: bigint): Promise<number> {
  return (await deadline(Promise.resolve(store.read(oid, 0, 4 * KIB))))[0]!;
}

/** Which of the disks have the object's file. */
export function disksWith(disks: readonly FakeDisk[], oid: bigint): number[] {
  const name = oid.toString(16).padStart(16, '0');
  const folder = `obj/${((oid >> 32n) & 0xffffffn).toString(16).padStart(6, '0')}`;
  return disks.flatMap((disk, i) => (disk.exists(`${folder}/${name}`) ? [i] : []));
}

export async function until(
  condition: () => boolean | Promise<boolean>,
  what: string,
  timeoutMs = 5000,
): Promise<void> {
  const end = Date.now() + timeoutMs;
  while (!(await condition())) {
    if (Date.now() > end) throw new Error(`deadline: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

export async function codeOf(promise: Promise<unknown> | (() => unknown)): Promise<string | undefined> {
  try {
    await deadline(typeof promise === 'function' ? Promise.resolve(promise()) : promise);
    return undefined;
  } catch (error) {
    return (error as { code?: string }).code;
  }
}
