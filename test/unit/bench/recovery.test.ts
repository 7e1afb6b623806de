import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { parseOptions } from '../../bench/options.js';
import type { RecoveryRun } from '../../bench/recovery.js';
import { seenIn } from '../../bench/recovery-load.js';
import { formatRecovery, type RecoveryReport } from '../../bench/recovery-report.js';
import { partOf } from '../../bench/statistics.js';

const MIB = 2 ** 20;
const seen = (rate: number) => ({ operationsPerSecond: rate, p50Ms: 1, p90Ms: 2, p99Ms: 3, maxMs: 4 });
const move = (ms: number) => ({ ms, cpuMs: 2000, stolenShare: 0.01, bytes: 100 * MIB });

function runOf(ms: number): RecoveryRun {
  const phases = { before: seen(1000), during: seen(500), after: seen(900) };
  const plainCopy = { ms: 1000, cpuMs: 1, stolenShare: 0 };
  return { alone: move(ms), plainCopy, withClient: move(2 * ms), ...phases };
}

function reportOf(runs: RecoveryRun[]): RecoveryReport {
  return {
    startedAt: '2026-01-01T00:00:00.000Z',
    machine: {
      ...{ processor: 'P', processors: 2, memoryBytes: 2 ** 34, kernel: '6.1', node: 'v20' },
      ...{ tools: {}, loadAverage: [1, 2, 3] },
    },
    disk: 'ext4 on a disk',
    options: { sizeBytes: 512 * MIB, depth: 4 },
    runs,
  };
}

test('recovery has a volume of 4 GiB and one run if nothing else is said, and stands alone', () => {
  const parse = (...words: string[]) => parseOptions(['--recovery', ...words], () => true)!;
  const settings = parse();
  assert.is(settings.sizeBytes, 4 * 2 ** 30);
  assert.is(settings.runs, 1);
  assert.equal(settings.recovery, { depth: 4 });
  assert.is(parse('--size', '512M', '--depth', '8', '--json', 'x').json, 'x');
  assert.throws(() => parse('--peers'), /stands alone/);
  assert.throws(() => parse('--depth', '0'), /too small/);
});

test('latencies are sorted, and a part of them is the value that so many lie below', () => {
  const values = seenIn([4, 1, 3, 2], 2000);
  assert.equal(values, { operationsPerSecond: 2, p50Ms: 3, p90Ms: 4, p99Ms: 4, maxMs: 4 });
  assert.is(partOf([1, 2], 1), 2);
  assert.ok(Number.isNaN(partOf([], 0.5)));
});

test('the report has both moves beside a plain copy, and the client before, during and after', () => {
  const text = formatRecovery(reportOf([runOf(4000)]));
  assert.match(text, /\| time with the start of the sheep, s +\| +4\.00 \| +8\.00 \|/);
  assert.match(text, /\| MiB\/s +\| +25\.0 \| +12\.5 \|/);
  assert.match(text, /\| times as long as a plain copy of its store +\| +4\.00 \| +8\.00 \|/);
  assert.match(text, /\| requests per second +\| +1000 \| +500 \| +900 \|/);
  assert.match(text, /full volume of 512 MiB/);
});

test('of several runs it has the medians with their spread', () => {
  const text = formatRecovery(reportOf([runOf(4000), runOf(2000), runOf(8000)]));
  assert.match(text, /\| time with the start of the sheep, s +\| +4\.00 \(2\.00 to 8\.00\) \|/);
});

test.run();
