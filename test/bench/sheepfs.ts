/**
 * sheepfs beside the NBD door of the same sheep and a raw file on the same disk, in one run:
 * `node dist/test/bench/sheepfs.js [ROUNDS] [SECONDS]` (3 and 1). Root only. In each round every cell is measured once;
 * what counts is the median, and the ratio of neighbours.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { canMount, ran, run, withMount } from '../helpers/sheepfs-mount.js';
import { median } from './statistics.js';

const MIB = 2 ** 20;
const SIZE = 256 * MIB;
const DEADLINE_MS = 600_000;

interface Row {
  readonly name: string;
  readonly words: readonly string[];
  readonly unit: 'MB/s' | '1/s';
}

const rows: readonly Row[] = [
  { name: 'read in sequence, 1 MiB, depth 1', words: ['--rw=read', '--bs=1M', '--iodepth=1'], unit: 'MB/s' },
  { name: 'read in sequence, 1 MiB, depth 4', words: ['--rw=read', '--bs=1M', '--iodepth=4'], unit: 'MB/s' },
  {
    name: 'write in sequence, 1 MiB, depth 4',
    words: ['--rw=write', '--bs=1M', '--iodepth=4'],
    unit: 'MB/s',
  },
  { name: 'random read, 4 KiB, depth 1', words: ['--rw=randread', '--bs=4k', '--iodepth=1'], unit: '1/s' },
  { name: 'random read, 4 KiB, depth 16', words: ['--rw=randread', '--bs=4k', '--iodepth=16'], unit: '1/s' },
  { name: 'random write, 4 KiB, depth 1', words: ['--rw=randwrite', '--bs=4k', '--iodepth=1'], unit: '1/s' },
  {
    name: 'random write, 4 KiB, depth 16',
    words: ['--rw=randwrite', '--bs=4k', '--iodepth=16'],
    unit: '1/s',
  },
];

interface Target {
  readonly name: string;
  readonly words: readonly string[];
  readonly readOnly: boolean;
}

/** Of one cell, in the row's unit; undefined where the target cannot do the row. */
async function measure(target: Target, row: Row, seconds: number): Promise<number | undefined> {
  if (target.readOnly && row.words[0]!.includes('write')) return undefined;
  const common = [
    '--name=bench',
    `--size=${SIZE}`,
    `--runtime=${seconds}`,
    '--time_based',
    '--output-format=json',
  ];
  const { code, stdout, stderr } = await run('fio', ...common, ...target.words, ...row.words);
  if (code !== 0) throw new Error(`fio on ${target.name}: ${stderr}`);
  const job = JSON.parse(stdout.slice(stdout.indexOf('{'))).jobs[0];
  const side = row.words[0]!.includes('write') ? job.write : job.read;
  return row.unit === '1/s' ? side.iops : (side.bw_bytes as number) / 1e6;
}

const rounds = Number(process.argv[2] ?? 3);
const seconds = Number(process.argv[3] ?? 1);
if (!canMount || !existsSync('/usr/bin/fio')) {
  process.stderr.write('needs fio, /dev/fuse and root\n');
  process.exit(1);
}

await withMount({ sheep: 1, copies: 1, deadlineMs: DEADLINE_MS }, async (mount, cluster) => {
  const raw = join(cluster.folder, 'raw');
  for (const path of [raw, mount.at('volume')]) {
    await ran('truncate', '-s', String(SIZE), path);
    await ran('dd', 'if=/dev/urandom', `of=${path}`, 'bs=1M', `count=${SIZE / MIB}`, 'conv=notrunc,fsync');
  }
  await ran('cp', mount.at('volume'), mount.at('origin'));
  await cluster.call('vdi.snapshot', { name: 'origin', tag: 'still' });
  const snapshot = mount.at('.snapshots/origin/still');
  await ran('dd', `if=${snapshot}`, 'of=/dev/null', 'bs=1M');
  const uri = `nbd+unix:///volume?socket=${cluster.folder}/nbd0.sock`;
  const libaio = '--ioengine=libaio';
  const targets: readonly Target[] = [
    {
      name: 'raw file',
      words: [libaio, '--direct=0', '--invalidate=0', `--filename=${raw}`],
      readOnly: false,
    },
    { name: 'NBD door', words: ['--ioengine=nbd', `--uri=${uri}`], readOnly: false },
    { name: 'sheepfs', words: [libaio, '--direct=1', `--filename=${mount.at('volume')}`], readOnly: false },
    {
      name: 'sheepfs, snapshot',
      words: ['--ioengine=psync', '--direct=0', '--invalidate=0', `--filename=${snapshot}`],
      readOnly: true,
    },
  ];
  const samples = new Map<string, number[]>();
  for (let round = 0; round < rounds; round++) {
    for (const row of rows) {
      for (const target of targets) {
        const value = await measure(target, row, seconds);
        const key = `${row.name}/${target.name}`;
        if (value !== undefined) samples.set(key, [...(samples.get(key) ?? []), value]);
      }
    }
  }
  const print = (text: string) => process.stdout.write(`${text}\n`);
  print(
    `One copy on one sheep, everything in memory; ${rounds} rounds of ${seconds} s; in brackets: of the raw file\n`,
  );
  print(`| | ${targets.map((target) => target.name).join(' | ')} |`);
  print(`|---|${targets.map(() => '---:|').join('')}`);
  for (const row of rows) {
    const middle = targets
      .map((target) => samples.get(`${row.name}/${target.name}`))
      .map((all) => all && median(all));
    const cells = middle.map((value) =>
      value === undefined ? '' : `${Math.round(value)} ${row.unit} (${(value / middle[0]!).toFixed(2)})`,
    );
    print(`| ${row.name} | ${cells.join(' | ')} |`);
  }
});
