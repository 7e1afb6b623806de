import { type ChildProcess, fork } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { sleep, systemClock } from '../../src/base/clock.js';
import { silentLogger } from '../../src/base/log.js';
import type { Coordinator } from '../../src/coord/coordinator.js';
import { openHostCoordinator } from '../../src/coord/local/local-defaults.js';
import { within } from '../helpers/coordinator-worlds.js';
import type { ChildReport } from './coord-child.js';

const CHILD = fileURLToPath(new URL('./coord-child.js', import.meta.url));

interface Child {
  readonly process: ChildProcess;
  readonly reports: ChildReport[];
}

interface Scene {
  readonly coordinator: Coordinator;
  start(mode: string, name: string, ...more: string[]): Child;
}

/** A folder, a coordinator of this process, and children that are always cleaned up. */
async function withScene(body: (scene: Scene) => Promise<void>): Promise<void> {
  const root = mkdtempSync(join(tmpdir(), 'sheepfold-coord-'));
  const path = join(root, 'coord');
  const children: ChildProcess[] = [];
  const coordinator = await openHostCoordinator({ path, log: silentLogger, create: true });
  const start: Scene['start'] = (mode, name, ...more) => {
    const child = fork(CHILD, [mode, path, name, ...more], {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
    children.push(child);
    const reports: ChildReport[] = [];
    child.on('message', (message) => void reports.push(message as ChildReport));
    return { process: child, reports };
  };
  try {
    await within(30_000, body({ coordinator, start }));
  } finally {
    for (const child of children) child.kill('SIGKILL');
    await coordinator.close();
    rmSync(root, { recursive: true, force: true });
  }
}

async function until(condition: () => boolean, limitMs = 10_000): Promise<void> {
  const endMs = systemClock.nowMs() + limitMs;
  while (!condition()) {
    if (systemClock.nowMs() > endMs) throw new Error(`waited ${limitMs} ms in vain`);
    await sleep(systemClock, 2);
  }
}

function acknowledged(child: Child): string[] {
  return child.reports.flatMap((report) => (report.type === 'acknowledged' ? [report.key] : []));
}

test('kill -9 and SIGSTOP of processes that hammer transactions lose, double and block nothing', async () => {
  await withScene(async ({ coordinator, start }) => {
    const names = ['a', 'b', 'c', 'd'];
    const children = names.map((name) => start('hammer', name));
    await until(() => children.every((child) => acknowledged(child).length > 50));
    const [killed, stopped, ...others] = children as [Child, Child, Child, Child];
    killed.process.kill('SIGKILL');
    stopped.process.kill('SIGSTOP');
    await sleep(systemClock, 50);
    const before = others.map((child) => acknowledged(child).length);
    await sleep(systemClock, 700);
    others.forEach((child, i) => {
      assert.ok(acknowledged(child).length > before[i]! + 5, 'the others went on meanwhile');
    });
    const stoppedCount = acknowledged(stopped).length;
    stopped.process.kill('SIGCONT');
    await until(() => acknowledged(stopped).length > stoppedCount + 20);
    for (const child of children) child.process.kill('SIGKILL');
    await until(() => children.every(({ process }) => process.signalCode !== null));
    await sleep(systemClock, 50);
    await checkHistory(coordinator, children);
  });
});

async function checkHistory(coordinator: Coordinator, children: Child[]): Promise<void> {
  const { entries } = await coordinator.list('');
  const found = new Map(entries.map((kv) => [kv.key, kv]));
  const all = children.flatMap(acknowledged);
  for (const key of all) assert.ok(found.has(key), `${key} was acknowledged`);
  for (const kv of entries) {
    if (kv.key !== 'total') assert.is(kv.createRevision, kv.modRevision, `${kv.key} was written once`);
  }
  const counts = entries.filter(({ key }) => key.startsWith('count/'));
  assert.is(Number(found.get('total')?.value), counts.length);
  assert.is(new Set(counts.map(({ value }) => value)).size, counts.length);
  // Reports still on their way when a process was killed: at most the last few of each.
  assert.ok(entries.length - 1 - all.length <= children.length * 40, `${entries.length} for ${all.length}`);
  process.stdout.write(`  ${all.length} transactions acknowledged by 4 processes\n`);
}

test('a killed holder is found out in well under a second, asked or not', async () => {
  await withScene(async ({ coordinator, start }) => {
    for (const hint of [false, true]) {
      const child = start('hold', 'h', '10000');
      await until(() => child.reports.length > 0);
      const report = child.reports[0]!;
      assert.is(report.type, 'holding');
      const { revision } = await coordinator.list('');
      let gone = false;
      coordinator.watch('node/', revision, () => {
        gone = true;
      });
      const startMs = systemClock.nowMs();
      child.process.kill('SIGKILL');
      if (hint && report.type === 'holding') coordinator.suspect(report.lease);
      await until(() => gone);
      const tookMs = systemClock.nowMs() - startMs;
      process.stdout.write(
        `  killed holder found out after ${tookMs.toFixed(0)} ms ${hint ? 'with' : 'without'} a hint\n`,
      );
      assert.ok(tookMs < 1000);
    }
  });
});

test('a holder stopped for longer than its ttl wakes up knowing that its lease is over', async () => {
  await withScene(async ({ coordinator, start }) => {
    const child = start('hold', 'h', '500');
    await until(() => child.reports.length > 0);
    const { revision } = await coordinator.list('');
    let gone = false;
    coordinator.watch('node/', revision, () => {
      gone = true;
    });
    await sleep(systemClock, 700);
    assert.not(gone, 'kept alive so far');
    child.process.kill('SIGSTOP');
    const startMs = systemClock.nowMs();
    await until(() => gone, 3000);
    const tookMs = systemClock.nowMs() - startMs;
    assert.ok(tookMs > 350 && tookMs < 2500, `ended after ${tookMs} ms`);
    child.process.kill('SIGCONT');
    await until(() => child.reports.some(({ type }) => type === 'lost'));
    await until(() => child.reports.some(({ type }) => type === 'woke'));
    for (const report of child.reports) if (report.type === 'woke') assert.not(report.stillValid);
  });
});

test.run();
