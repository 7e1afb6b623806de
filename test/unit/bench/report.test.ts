import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { formatReport, type Report, toJson } from '../../bench/report.js';
import type { Sample } from '../../bench/samples.js';
import { median, medianRatio, spread } from '../../bench/statistics.js';
import { workloads } from '../../bench/workloads.js';

function sampleOf(operationsPerSecond: number): Sample {
  const cpu = { daemonCpuMsPerThousand: 12.34, clientCpuMsPerThousand: 5, writtenPerByte: 3, stolenShare: 0 };
  return { operations: 1000, seconds: 1, operationsPerSecond, ...cpu };
}

const report: Report = {
  startedAt: '2026-01-01T00:00:00.000Z',
  machine: {
    ...{ processor: 'P', processors: 2, memoryBytes: 2 ** 31, kernel: '6', node: 'v20' },
    ...{ tools: { fio: '3' }, loadAverage: [1, 2, 3] },
  },
  options: { sizeBytes: 2 ** 28, runs: 3, secondsPerRun: 0.5 },
  stolenShare: 0.1,
  idleShare: 0,
  rows: [
    {
      workload: 'a row',
      samples: {
        sheepfold: [100, 400, 150].map(sampleOf),
        'qemu-nbd': [200, 800, 100].map(sampleOf),
      },
    },
  ],
  memory: { sheepfold: [{ residentBytes: 2 ** 20, peakBytes: 2 ** 21 }], 'qemu-nbd': [] },
  volumeBytes: 2 ** 26,
  volumeTimes: [{ createMs: 1, snapshotMs: 2, deleteSnapshotMs: 3, discardMs: 5, deleteVolumeMs: 4 }],
};

test('the median of an even count lies between the middle two', () => {
  assert.is(median([4, 1, 3, 2]), 2.5);
  assert.is(median([9, 1, 5]), 5);
  assert.equal(spread([3, 1, 2]), { median: 2, min: 1, max: 3 });
});

test('ratios are of pairs of the same round', () => {
  assert.is(medianRatio([100, 400, 150], [200, 800, 100]), 0.5);
  assert.ok(Number.isNaN(medianRatio([1], [])));
});

test('the table shows medians with their spread, and targets that did not run are left out', () => {
  const text = formatReport(report);
  assert.match(text, /\| a row +\| +150 \(100 to 400\) \| +200 \(100 to 800\) \| +0\.50 \|/);
  assert.match(text, /\| Sheepfold, 3 copies \|\s+1 \|\s+2 \|/);
  assert.not.match(text, /nbdkit memory/);
});

test('the JSON keeps every sample beside the medians', () => {
  const { rows } = JSON.parse(toJson(report));
  assert.is(rows[0].targets.sheepfold.operationsPerSecond.median, 150);
  assert.is(rows[0].targets.sheepfold.samples.length, 3);
  assert.is(rows[0].targets.sheepfold.ratioToQemuNbd, 0.5);
});

test('rows have names of their own, and the quick ones cover each size', () => {
  assert.is(new Set(workloads.map((row) => row.name)).size, workloads.length);
  const sizes = new Set(workloads.map((row) => row.blockBytes));
  for (const size of sizes) assert.ok(workloads.some((row) => row.quick && row.blockBytes === size));
});

test.run();
