// deadline: 120 s
/**
 * Every `virsh pool-*` and `vol-*` command of the stock virsh, against a real cluster. The table in
 * pool-backend/README.md is what happened here; POOL_TABLE=write writes it anew.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { PoolDaemon, poolXml, type VirshResult, virsh } from '../helpers/pool-daemon.js';
import { withCluster } from '../helpers/real-cluster.js';
import { requires } from '../helpers/requires.js';

const README = join(process.cwd(), 'pool-backend', 'README.md');
const BEGIN = '<!-- commands: written by test/process/pool-commands.test.ts -->\n';
const END = '<!-- end of commands -->';

interface Step {
  readonly words: readonly string[];
  /** What standard output or, for a refusal, standard error must match. */
  readonly shows?: RegExp;
  readonly refused?: true;
  readonly env?: Record<string, string>;
  /** What is done while it runs, again and again until it ends. */
  readonly meanwhile?: readonly string[];
  /** For a command that says nothing: another one that shows what came of it. */
  readonly proof?: readonly [words: readonly string[], shows: RegExp];
}

/** In an order in which each finds what it needs; PATH stands for the path of the volume `disk`. */
function steps(folder: string): Step[] {
  const file = (name: string) => join(folder, name);
  const edit = { EDITOR: file('editor'), VISUAL: file('editor') };
  return [
    {
      words: ['find-storage-pool-sources-as', 'sheepdog'],
      refused: true,
      shows: /does not support source disc/,
    },
    {
      words: ['find-storage-pool-sources', 'sheepdog'],
      refused: true,
      shows: /does not support source disc/,
    },
    { words: ['pool-capabilities'], shows: /<pool type='sheepdog' supported='yes'>/ },
    { words: ['pool-create', file('transient.xml')], proof: [['pool-list', '--transient'], /t +active/] },
    { words: ['pool-destroy', 't'], proof: [['pool-list', '--all'], /^\s*$/] },
    {
      words: ['pool-create-as', 't', 'sheepdog', '--source-host', '127.0.0.1', '--print-xml'],
      shows: /<pool type='sheepdog'>/,
    },
    {
      words: ['pool-define-as', 'other', 'sheepdog', '--source-host', '127.0.0.1', '--source-name', 'far'],
      proof: [['pool-list', '--inactive'], /other +inactive/],
    },
    { words: ['pool-edit', 'other'], env: edit, proof: [['pool-dumpxml', 'other'], /<path>\/srv\/mount</] },
    { words: ['pool-delete', 'other'], refused: true, shows: /pool does not support pool deletion/ },
    { words: ['pool-undefine', 'other'], proof: [['pool-list', '--all'], /^\s*$/] },
    { words: ['pool-define', file('pool.xml')], proof: [['pool-list', '--inactive'], /vms +inactive/] },
    { words: ['pool-build', 'vms'], shows: /^\s*$/ },
    { words: ['pool-start', 'vms'], proof: [['pool-list'], /vms +active/] },
    { words: ['pool-autostart', 'vms'], proof: [['pool-info', 'vms'], /Autostart: +yes/] },
    { words: ['pool-info', 'vms'], shows: /State: +running\nPersistent: +yes[\s\S]*Available: +[1-9]/ },
    { words: ['pool-list', '--details', '--type', 'sheepdog'], shows: /vms +running +yes +yes/ },
    { words: ['pool-dumpxml', 'vms'], shows: /<name>ns<\/name>/ },
    { words: ['pool-uuid', 'vms'], shows: /^11111111-2222-3333-4444-555555555555$/m },
    { words: ['pool-name', '11111111-2222-3333-4444-555555555555'], shows: /^vms$/m },
    { words: ['pool-refresh', 'vms'], shows: /^\s*$/ },
    {
      words: ['pool-event', '--event', 'refresh', '--timeout', '20'],
      meanwhile: ['pool-refresh', 'vms'],
      shows: /event 'refresh' for storage pool vms/,
    },
    { words: ['vol-create', 'vms', file('volume.xml')], proof: [['vol-info', 'one', 'vms'], /8.00 MiB/] },
    { words: ['vol-create-as', 'vms', 'disk', '16M'], proof: [['vol-info', 'disk', 'vms'], /16.00 MiB/] },
    { words: ['vol-list', 'vms', '--details'], shows: /disk +nbd:\/\/\S+ +network +16.00 MiB +0.00 B/ },
    { words: ['vol-upload', 'disk', file('data'), '--pool', 'vms'], shows: /^\s*$/ },
    { words: ['vol-download', 'disk', file('copy'), '--pool', 'vms', '--sparse'], shows: /^\s*$/ },
    { words: ['vol-info', 'disk', 'vms'], shows: /Type: +network\n[\s\S]*Allocation: +8.00 MiB/ },
    { words: ['vol-clone', 'disk', 'clone', '--pool', 'vms'], proof: [['vol-list', 'vms'], /clone +nbd/] },
    {
      words: ['vol-create-from', 'vms', file('from.xml'), 'disk', '--inputpool', 'vms'],
      proof: [['vol-info', 'bigger', 'vms'], /Capacity: +32.00 MiB\nAllocation: +0.00 B/],
    },
    {
      words: ['vol-resize', 'disk', '24M', '--pool', 'vms'],
      proof: [['vol-info', 'disk', 'vms'], /24.00 MiB/],
    },
    { words: ['vol-dumpxml', 'disk', 'vms'], shows: /<capacity unit='bytes'>25165824</ },
    { words: ['vol-path', 'disk', 'vms'], shows: /^nbd:\/\/127.0.0.1:\d+\/ns~disk$/m },
    { words: ['vol-key', 'disk', 'vms'], shows: /^[0-9a-f]{32}\/ns~disk$/m },
    { words: ['vol-name', 'PATH'], shows: /^disk$/m },
    { words: ['vol-pool', 'PATH'], shows: /^vms$/m },
    { words: ['vol-wipe', 'disk', 'vms'], proof: [['vol-info', 'disk', 'vms'], /Allocation: +0.00 B/] },
    { words: ['vol-delete', 'disk', 'vms'], proof: [['vol-list', 'vms'], /^(?![\s\S]* disk )/] },
  ];
}

async function commandsOfVirsh(): Promise<string[]> {
  const outputs = await Promise.all(['pool', 'volume'].map((group) => execa('virsh', ['help', group])));
  return outputs.flatMap(({ stdout }) => [...stdout.matchAll(/^ {4}(\S+) /gm)].map(([, name]) => name!));
}

async function runStep(daemon: PoolDaemon, step: Step, words: readonly string[]): Promise<VirshResult> {
  const running = virsh(daemon.socket, words, { ...(step.env && { env: step.env }) });
  if (step.meanwhile === undefined) return running;
  let over = false;
  void running.finally(() => {
    over = true;
  });
  while (!over) await daemon.ok(...step.meanwhile);
  return running;
}

async function check(daemon: PoolDaemon, step: Step, folder: string): Promise<string> {
  const path = step.words.includes('PATH') ? (await daemon.ok('vol-path', 'disk', 'vms')).trim() : '';
  const words = step.words.map((word) => (word === 'PATH' ? path : word));
  const { exit, stdout, stderr } = await runStep(daemon, step, words);
  const line = `virsh ${words.join(' ')}`;
  assert.is(exit === 0, step.refused === undefined, `${line}: exit ${exit} ${stderr}`);
  if (step.shows !== undefined) assert.match(exit === 0 ? stdout : stderr, step.shows, line);
  if (step.proof !== undefined) assert.match(await daemon.ok(...step.proof[0]), step.proof[1], line);
  const outcome =
    exit === 0 ? 'done' : `refused: ${stderr.trim().split('\n').at(-1)!.replace('error: ', '')}`;
  const shown = step.words.map((word) => word.replace(`${folder}/`, '')).join(' ');
  return `| \`${step.words[0]}\` | \`${shown}\` | ${outcome} |`;
}

/** The formatter lines up the columns of tables. */
const unpadded = (table: string): string => table.replaceAll(/ +/g, ' ').replaceAll(/-{3,}/g, '---').trim();

function compareTable(rows: readonly string[]): void {
  const table = `| Command | Run as | Outcome |\n| --- | --- | --- |\n${rows.toSorted().join('\n')}\n`;
  const readme = readFileSync(README, 'utf8');
  const [from, to] = [readme.indexOf(BEGIN) + BEGIN.length, readme.indexOf(END)];
  if (process.env.POOL_TABLE === 'write') {
    writeFileSync(README, readme.slice(0, from) + table + readme.slice(to));
  } else assert.is(unpadded(readme.slice(from, to)), unpadded(table));
}

requires(test, 'virsh')('every command of virsh for pools and volumes does what it should', () =>
  withCluster({ deadlineMs: 100_000 }, async (cluster) => {
    const folder = mkdtempSync(join(tmpdir(), 'sheepfold-pools-'));
    const { port } = cluster.sheep[0]!;
    const uuid = '<uuid>11111111-2222-3333-4444-555555555555</uuid>';
    writeFileSync(join(folder, 'pool.xml'), poolXml('vms', port, 'ns', uuid));
    writeFileSync(join(folder, 'transient.xml'), poolXml('t', port, 'brief'));
    const volume = (name: string, size: number) =>
      `<volume><name>${name}</name><capacity unit='MiB'>${size}</capacity></volume>`;
    writeFileSync(join(folder, 'volume.xml'), volume('one', 8));
    writeFileSync(join(folder, 'from.xml'), volume('bigger', 32));
    const edited = 's,</pool>,<target><path>/srv/mount</path></target></pool>,';
    writeFileSync(join(folder, 'editor'), `#!/bin/sh\nexec sed -i '${edited}' "$1"\n`, { mode: 0o755 });
    writeFileSync(join(folder, 'data'), Buffer.alloc(5_000_000, 'sheep'));
    try {
      await PoolDaemon.with(folder, [], async (daemon) => {
        const rows: string[] = [];
        const all = steps(folder);
        for (const step of all) rows.push(await check(daemon, step, folder));
        const copy = readFileSync(join(folder, 'copy'));
        assert.ok(copy.subarray(0, 5_000_000).equals(readFileSync(join(folder, 'data'))));
        const names = new Set(all.map(({ words }) => words[0]!));
        assert.equal([...names].sort(), (await commandsOfVirsh()).sort());
        compareTable(rows);
      });
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  }),
);

test.run();
