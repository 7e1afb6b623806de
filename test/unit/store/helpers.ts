/** Small stores on fake disks, for the tests of this folder. */
import { type Clock, systemClock } from '../../../src/base/clock.js';
import { silentLogger } from '../../../src/base/log.js';
import { SeededRandom } from '../../../src/base/random.js';
import type { WriteMode } from '../../../src/store/object-store.js';
import { openStore, type StoreOptions } from '../../../src/store/open-store.js';
import type { Store } from '../../../src/store/store.js';
import { FakeDisk, type FakeDiskOptions } from '../../helpers/fake-disk.js';

export const KIB = 1024;
export const OBJECT = 256 * KIB;
export const smallLimits = { segmentBytes: 256 * KIB, reserveBytes: 64 * KIB, maxUncommitted: 64 };

/** The system's clock; its timers do not keep a test alive that has crashed its store. */
export const clock: Clock = {
  ...systemClock,
  after(delayMs, run) {
    const handle = setTimeout(run, delayMs).unref();
    return { cancel: () => clearTimeout(handle) };
  },
};

export function fakeDisk(options: Partial<FakeDiskOptions> = {}, seed = 1): FakeDisk {
  return new FakeDisk({
    clock,
    random: new SeededRandom(seed),
    capacityBytes: 64 << 20,
    ...options,
  });
}

export function openFake(disk: FakeDisk, options: Partial<StoreOptions> = {}): Promise<Store> {
  const identity = { clusterId: 'c1', nodeId: 'n1' };
  const limits = smallLimits;
  return deadline(
    openStore({ disk, clock, log: silentLogger, identity, bootId: 'boot', limits, ...options }),
  );
}

export function filled(length: number, value: number): Uint8Array {
  return new Uint8Array(length).fill(value & 255);
}

export interface PutOptions {
  mode?: WriteMode;
  parent?: bigint;
  epoch?: number;
  sync?: boolean;
  objectBytes?: number;
}

export function put(
  store: Store,
  oid: bigint,
  offset: number,
  data: Uint8Array,
  options: PutOptions = {},
): Promise<void> {
  return store.write({
    oid,
    objectBytes: OBJECT,
    mode: 'update',
    epoch: 1,
    offset,
    data,
    sync: false,
    ...options,
  });
}

export async function reads(store: Store, oid: bigint, offset: number, length: number): Promise<Uint8Array> {
  return new Uint8Array(await deadline(Promise.resolve(store.read(oid, offset, length))));
}

/** No test waits for ever. */
export function deadline<T>(promise: Promise<T>, timeoutMs = 5000): Promise<T> {
  let timer: NodeJS.Timeout;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error('deadline')), timeoutMs);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}
