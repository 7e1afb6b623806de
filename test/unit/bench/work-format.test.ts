import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { formatWork } from '../../bench/work/format.js';
import type { WorkTable } from '../../bench/work/table.js';

const cell = (value: number, cpu?: number, stolenShare = 0) => ({
  ...{ value, stolenShare },
  ...(cpu !== undefined && { cpu }),
});

const table: WorkTable = {
  ...{ title: 'Other work', own: 'sheepfold', notes: ['How it is done.'] },
  columns: [
    { name: 'sheepfold', title: 'Sheepfold, 3 copies' },
    { name: 'ceph', title: 'Ceph RBD, 3 copies' },
    { name: 'raw', title: 'raw file' },
  ],
  rows: [
    {
      ...{ name: 'a deletion', unit: 'ms', better: 'less', cpuUnit: 'ms' },
      rounds: [
        { sheepfold: cell(100, 7), ceph: cell(400, 9) },
        { sheepfold: cell(300, 7), ceph: cell(600, 11, 0.5) },
        { sheepfold: cell(200, 9), ceph: cell(400, 9) },
      ],
    },
    { ...{ name: 'a rate', unit: '1/s', better: 'more' }, rounds: [{ sheepfold: cell(8), raw: cell(16) }] },
    { ...{ name: 'what nobody can', unit: 'ms', better: 'less' }, rounds: [{}] },
  ],
};

test('other work has medians with their spread, without rounds in which one was robbed', () => {
  const text = formatWork(table, 0.05);
  assert.match(text, /\| a deletion \(ms\) +\| +150 \(100 to 200\) \| +400 \| +- \| +2 of 3 \|/);
  assert.match(text, /\| a rate \(1\/s\) +\| +8\.00 \| +- \| +16\.0 \| +1 of 1 \|/);
  assert.not.match(text, /what nobody can/);
  assert.match(text, /\n- How it is done\.$/);
});

test('ratios say how many times better Sheepfold is: less time, or more of a rate', () => {
  const text = formatWork(table, 0.05);
  assert.match(text, /\| a deletion +\| +3\.00 \| +- \|/);
  assert.match(text, /\| a rate +\| +- \| +0\.50 \|/);
  assert.match(text, /Sheepfold : Ceph RBD, 3 copies/);
});

test('CPU is shown where it is counted', () => {
  const [, , cpu] = formatWork(table, 0.05).split('### ').slice(1);
  assert.match(cpu!, /\| a deletion \(ms\) +\| +8\.00 \(7\.00 to 9\.00\) \| +9\.00 \| +- \| +2 of 3 \|/);
  assert.not.match(cpu!, /a rate/);
});

test('variants of Sheepfold are compared with the one that is named', () => {
  const text = formatWork(
    {
      ...{ title: 'sheep', own: '3', notes: [] },
      columns: [
        { name: '1', title: 'one' },
        { name: '3', title: 'three' },
      ],
      rows: [{ ...{ name: 'a row', unit: '1/s', better: 'more' }, rounds: [{ 1: cell(10), 3: cell(5) }] }],
    },
    0.05,
  );
  assert.match(text, /three : one/);
  assert.match(text, /\| a row +\| +0\.50 \|/);
});

test.run();
