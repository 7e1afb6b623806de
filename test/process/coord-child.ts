/** A process that uses the coordinator in a folder: `coord-child <hammer|hold> <folder> <name>`. Reports by IPC. */
import { sleep, systemClock } from '../../src/base/clock.js';
import { silentLogger } from '../../src/base/log.js';
import type { Coordinator } from '../../src/coord/coordinator.js';
import { openHostCoordinator } from '../../src/coord/local/local-defaults.js';

export type ChildReport =
  | { type: 'acknowledged'; key: string }
  | { type: 'holding'; lease: string }
  /** First look at the lease after a gap in this process's life. */
  | { type: 'woke'; gapMs: number; stillValid: boolean }
  | { type: 'lost' };

const [mode, path, name] = process.argv.slice(2) as [string, string, string];

function report(message: ChildReport): void {
  process.send!(message);
}

/** Counts in one shared counter, and leaves one key for each count. */
async function hammer(coordinator: Coordinator): Promise<void> {
  for (let i = 0, round = 0; ; round++) {
    const total = await coordinator.get('total');
    const key = `count/${name}/${i}`;
    const compares = [{ key: 'total', modRevision: total?.modRevision ?? 0 }];
    const value = String(Number(total?.value ?? 0) + 1);
    // No comparison protects these keys: applied twice, they would show it.
    const counted = coordinator.txn(compares, [put('total', value), put(key, value)]);
    const free = `free/${name}/${round}`;
    await coordinator.txn([], [put(free, '')]);
    report({ type: 'acknowledged', key: free });
    if (!(await counted).ok) continue;
    report({ type: 'acknowledged', key });
    i++;
  }
}

/** Holds a lease, and looks all the time whether it may still act on it. */
async function hold(coordinator: Coordinator): Promise<void> {
  const lease = await coordinator.grantLease(Number(process.argv[5]));
  await coordinator.txn([], [{ ...put(`node/${name}`, ''), lease: lease.id }]);
  void lease.lost.then(() => report({ type: 'lost' }));
  report({ type: 'holding', lease: lease.id });
  for (let lastMs = systemClock.nowMs(); ; ) {
    const nowMs = systemClock.nowMs();
    const gapMs = nowMs - lastMs;
    if (gapMs > 200) report({ type: 'woke', gapMs, stillValid: lease.validUntilMs() > nowMs });
    lastMs = nowMs;
    await sleep(systemClock, 2);
  }
}

function put(key: string, value: string): { type: 'put'; key: string; value: string } {
  return { type: 'put', key, value };
}

process.on('disconnect', () => process.exit(0));
const coordinator = await openHostCoordinator({ path, log: silentLogger });
await (mode === 'hold' ? hold(coordinator) : hammer(coordinator));
