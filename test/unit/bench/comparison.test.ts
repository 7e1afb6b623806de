import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { chart, ratioText } from '../../bench/peers/chart.js';
import type { ComparedSample, Comparison } from '../../bench/peers/compare.js';
import { advantage, type Figure, quietRounds, spreadOver } from '../../bench/peers/figures.js';
import { comparisonChart, formatComparison } from '../../bench/peers/report.js';
import { peerRows, SNAPSHOT_ROW } from '../../bench/peers/rows.js';
import { cpuFigures, mainFigures, writtenFigures } from '../../bench/peers/tables.js';

const MIB = 2 ** 20;
const cell = (value: number, stolenShare = 0) => ({ value, stolenShare });

const figure: Figure = {
  ...{ name: 'a row', unit: '1/s', better: 'more' },
  rounds: [
    { sheepfold: cell(100), ceph: cell(50) },
    { sheepfold: cell(300), ceph: cell(100, 0.06) },
    { sheepfold: cell(80), ceph: cell(20) },
  ],
};

function sampleOf(operationsPerSecond: number, stolenShare = 0): ComparedSample {
  const cpu = { daemonCpuMsPerThousand: 1000, clientCpuMsPerThousand: 500 };
  return {
    operations: 10,
    seconds: 1,
    operationsPerSecond,
    ...cpu,
    startCpuMs: 1,
    writtenPerByte: 3,
    stolenShare,
  };
}

const [deepWrite, largeWrite] = [1, 4].map((index) => peerRows(64 * MIB)[index]!);
const daemon = (role: string, mib: number) => ({ role, residentBytes: mib * MIB, peakBytes: mib * MIB });

const comparison: Comparison = {
  startedAt: '2026-01-01T00:00:00.000Z',
  machine: {
    ...{ processor: 'P', processors: 2, memoryBytes: 2 ** 34, kernel: '6.1.0-of-somebody', node: 'v20' },
    ...{ tools: { Ceph: '16.2' }, loadAverage: [1, 2, 3] },
  },
  disk: 'ext4 on a disk',
  options: { sizeBytes: 64 * MIB, runs: 2, secondsPerRun: 0.5 },
  stolenShareMax: 0.05,
  rows: [
    {
      workload: deepWrite!,
      rounds: [
        { sheepfold: sampleOf(3000), ceph: sampleOf(1000), raw: sampleOf(9000) },
        { sheepfold: sampleOf(1000), ceph: sampleOf(900, 0.5), raw: sampleOf(9000) },
      ],
    },
    { workload: largeWrite!, rounds: [{ sheepfold: sampleOf(100) }, { sheepfold: sampleOf(200) }] },
  ],
  snapshots: [
    {
      sheepfold: { snapshotMs: 10, writesMs: 200, stolenShare: 0 },
      ceph: { snapshotMs: 40, writesMs: 100, stolenShare: 0 },
    },
  ],
  memory: {
    sheepfold: [daemon('sheep', 100), daemon('sheep', 110), daemon('sheep', 120)],
    ceph: [daemon('OSD', 220), daemon('OSD', 220), daemon('OSD', 220), daemon('manager', 300)],
    raw: [],
  },
  work: [],
};

test('a round in which one was robbed is dropped for all', () => {
  assert.is(quietRounds(figure, 0.05).length, 2);
  assert.is(quietRounds(figure, 0.06).length, 3);
  assert.equal(spreadOver(quietRounds(figure, 0.05), 'sheepfold'), { median: 90, min: 80, max: 100 });
  assert.is(spreadOver(figure.rounds, 'raw'), undefined);
});

test('ratios are of the same round, and above 1 where Sheepfold is better', () => {
  assert.is(advantage(figure, figure.rounds, 'ceph'), 3);
  assert.is(advantage({ ...figure, better: 'less' }, figure.rounds, 'ceph'), 1 / 3);
  assert.is(advantage(figure, figure.rounds, 'raw'), undefined);
});

test('the figures: MB/s for large requests, CPU with the client but not its start, memory of those that store', () => {
  const named = (name: string) => mainFigures(comparison).find((row) => row.name === name)!;
  assert.is(named('1 MiB durable write, depth 8').unit, 'MB/s');
  assert.is(named('1 MiB durable write, depth 8').rounds[0]?.sheepfold?.value, 104.8576);
  assert.is(named('CPU of a 4 KiB durable write, depth 32').rounds[0]?.sheepfold?.value, 1400);
  assert.is(named('memory of a storing daemon').rounds[0]?.ceph?.value, 220);
  assert.is(named('memory of a storing daemon').rounds[0]?.raw, undefined);
  assert.is(named(SNAPSHOT_ROW).rounds[0]?.ceph?.value, 40);
  assert.is(cpuFigures(comparison).length, 2);
  assert.is(writtenFigures(comparison)[0]?.rounds[0]?.raw?.value, 3);
});

test('the report has medians, ratios, promises, and how many rounds were dropped', () => {
  const text = formatComparison(comparison);
  assert.match(text, /\| 4 KiB durable write, depth 32 \(1\/s\) +\| +3000 \| +1000 \| +9000 \| +1 of 2 \|/);
  assert.match(text, /\| snapshot of the prefilled volume +\| +4\.00 \| +- \|/);
  assert.match(text, /\| 1 MiB durable write, depth 8 \(MB\/s\) +\| +157 \(105 to 210\) \| +- \| +- \|/);
  assert.match(text, /OSD 220, OSD 220, OSD 220, manager 300 \| +960 \|/);
  assert.match(text, /Ceph RBD, 3 copies +\| +on 3 disks \| +in the client's memory/);
  assert.match(text, /Dropped: 1 of 5 rounds .* more than 5 %/);
  assert.not.match(text, /GlusterFS|of-somebody/);
});

test('a row whose rounds were all dropped stays, without figures', () => {
  const text = formatComparison({ ...comparison, stolenShareMax: -1 });
  assert.match(text, /\| 4 KiB durable write, depth 32 \(1\/s\) +\| +- \| +- \| +- \| +0 of 2 \|/);
});

test('the chart has the ratios to systems with as many copies, and no yardsticks', () => {
  const svg = comparisonChart(comparison)!;
  assert.match(svg, /Ceph RBD, 3 copies: 3\.00/);
  assert.not.match(svg, /raw file/);
  assert.is(comparisonChart({ ...comparison, rows: [], snapshots: [], memory: {} }), undefined);
});

test('bars go right from 1 for better and left for worse, equally long for inverse ratios', () => {
  const svg = chart('a <title>', [
    { label: 'better', bars: [{ title: 'x', ratio: 4 }] },
    { label: 'worse', bars: [{ title: 'x', ratio: 1 / 4 }] },
    { label: 'none', bars: [] },
  ]);
  const bars = [...svg.matchAll(/<rect x="([\d.]+)" y="\d+" width="([\d.]+)" height="14"/g)];
  const [better, worse] = bars.map(([, x, width]) => ({ x: Number(x), width: Number(width) }));
  assert.is(bars.length, 2);
  assert.is(better!.width, worse!.width);
  assert.ok(Math.abs(worse!.x + worse!.width - better!.x) < 0.2);
  assert.match(svg, /a &lt;title&gt;/);
  assert.match(svg, /prefers-color-scheme:dark/);
  assert.not.match(svg, />none</);
});

test('ratios are printed with three digits', () => {
  assert.equal([0.256, 3.149, 12.34, 256.7].map(ratioText), ['0.26', '3.15', '12.3', '257']);
});

test.run();
