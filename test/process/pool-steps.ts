/** Every `virsh pool-*` and `vol-*` command once, with what it must show, for each kind of pool. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { poolXml } from '../helpers/pool-daemon.js';

const UUID = '11111111-2222-3333-4444-555555555555';
const SILENCE = /^\s*$/;

export interface Expectation {
  /** What standard output or, for a refusal, standard error must match. */
  readonly shows?: RegExp;
  readonly refused?: boolean;
  /** For a command that says nothing: another one that shows what came of it. */
  readonly proof?: readonly [words: readonly string[], shows: RegExp];
}

export interface Step extends Expectation {
  readonly words: readonly string[];
  readonly env?: Record<string, string>;
  /** What is done while it runs, again and again until it ends. */
  readonly meanwhile?: readonly string[];
}

export interface PoolKind {
  readonly type: string;
  /** Where its volumes are, for pool-define-as and pool-create-as. */
  readonly source: readonly string[];
  /** No option of virsh says which port: pool-create-as prints what it would have sent. */
  readonly printed: boolean;
  /** A pool that is there for the volumes `disk` and others. */
  xml(name: string, more: string): string;
  /** What pool-edit changes there, for sed, and how the definition shows it. */
  readonly edit: readonly [expression: string, shows: RegExp];
  /** By command: where it ends differently from our daemon's pools. */
  readonly differs: Readonly<Record<string, Expectation>>;
}

/** Pools of our daemon, whoever is between it and virsh. */
export function ourPools(port: number): PoolKind {
  return {
    type: 'sheepdog',
    source: ['--source-host', '127.0.0.1', '--source-name', 'far'],
    printed: true,
    xml: (name, more) => poolXml(name, port, name === 'vms' ? 'ns' : 'brief', more),
    edit: ['s,<name>far<,<name>near<,', /<name>near</],
    differs: {},
  };
}

/** Pools of libvirt 7.0's backend, which knows no namespaces and five things to do with a volume. */
export function backendPools(port: number): PoolKind {
  const unsupported = (shows: RegExp): Expectation => ({ refused: true, shows });
  return {
    ...ourPools(port),
    differs: {
      'vol-list': { shows: /disk +disk +network +16.00 MiB +0.00 B/ },
      'vol-info': { shows: /Type: +network\nCapacity: +16.00 MiB\nAllocation: +0.00 B/ },
      'vol-path': { shows: /^disk$/m },
      'vol-key': { shows: /^ns\/disk$/m },
      'vol-upload': unsupported(/storage pool doesn't support volume upload/),
      'vol-download': unsupported(/storage pool doesn't support volume download/),
      'vol-clone': unsupported(/storage pool does not support volume creation from an existing volume/),
      'vol-create-from': unsupported(/storage pool does not support volume creation from an existing volume/),
      'vol-wipe': unsupported(/storage pool doesn't support volume wiping/),
    },
  };
}

/** `dir` pools of libvirt itself on a folder where sheepfs is mounted. */
export function folderPools(folder: string): PoolKind {
  return {
    type: 'dir',
    source: ['--target', folder],
    printed: false,
    xml: (name, more) =>
      `<pool type='dir'><name>${name}</name>${more}<target><path>${folder}</path></target></pool>`,
    edit: [`s,<path>${folder}<,<path>/srv/mount<,`, /<path>\/srv\/mount</],
    differs: {
      // libvirt removes the folder, and here that is a mount.
      'pool-delete': { refused: true, shows: /Device or resource busy/ },
      'pool-dumpxml': { shows: new RegExp(`<path>${folder}</path>`) },
      'vol-list': { shows: new RegExp(`disk +${folder}/disk +file +16.00 MiB`) },
      'vol-info': { shows: /Type: +file\nCapacity: +16.00 MiB/ },
      'vol-create-from': { proof: [['vol-info', 'bigger', 'vms'], /Capacity: +32.00 MiB/] },
      'vol-path': { shows: new RegExp(`^${folder}/disk$`, 'm') },
      'vol-key': { shows: new RegExp(`^${folder}/disk$`, 'm') },
      'vol-wipe': { proof: [['vol-info', 'disk', 'vms'], /Capacity: +24.00 MiB/] },
    },
  };
}

/** In an order in which each finds what it needs; PATH stands for the path of the volume `disk`. */
export function stepsFor(kind: PoolKind, folder: string): Step[] {
  const all = [...poolSteps(kind, folder), ...volumeSteps(folder)];
  return all.map((step) => {
    const { words, env, meanwhile } = step;
    const differs = kind.differs[words[0]!];
    return differs === undefined
      ? step
      : { words, ...(env && { env }), ...(meanwhile && { meanwhile }), ...differs };
  });
}

function createAs({ type, source, printed }: PoolKind): Step[] {
  const words = ['pool-create-as', 't', type, ...source];
  if (printed) return [{ words: [...words, '--print-xml'], shows: new RegExp(`<pool type='${type}'>`) }];
  return [
    { words, proof: [['pool-list', '--transient'], /t +active/] },
    { words: ['pool-destroy', 't'], proof: [['pool-list', '--all'], SILENCE] },
  ];
}

function poolSteps(kind: PoolKind, folder: string): Step[] {
  const {
    type,
    source,
    edit: [, edited],
  } = kind;
  const file = (name: string) => join(folder, name);
  const edit = { EDITOR: file('editor'), VISUAL: file('editor') };
  const noDiscovery = { refused: true, shows: /does not support source disc/ };
  return [
    { words: ['find-storage-pool-sources-as', type], ...noDiscovery },
    { words: ['find-storage-pool-sources', type], ...noDiscovery },
    { words: ['pool-capabilities'], shows: new RegExp(`<pool type='${type}' supported='yes'>`) },
    { words: ['pool-create', file('transient.xml')], proof: [['pool-list', '--transient'], /t +active/] },
    { words: ['pool-destroy', 't'], proof: [['pool-list', '--all'], SILENCE] },
    ...createAs(kind),
    {
      words: ['pool-define-as', 'other', type, ...source],
      proof: [['pool-list', '--inactive'], /other +inactive/],
    },
    { words: ['pool-delete', 'other'], refused: true, shows: /pool does not support pool deletion/ },
    { words: ['pool-edit', 'other'], env: edit, proof: [['pool-dumpxml', 'other'], edited] },
    { words: ['pool-undefine', 'other'], proof: [['pool-list', '--all'], SILENCE] },
    { words: ['pool-define', file('pool.xml')], proof: [['pool-list', '--inactive'], /vms +inactive/] },
    { words: ['pool-build', 'vms'], shows: SILENCE },
    { words: ['pool-start', 'vms'], proof: [['pool-list'], /vms +active/] },
    { words: ['pool-autostart', 'vms'], proof: [['pool-info', 'vms'], /Autostart: +yes/] },
    { words: ['pool-info', 'vms'], shows: /State: +running\nPersistent: +yes[\s\S]*Available: +[1-9]/ },
    { words: ['pool-list', '--details', '--type', type], shows: /vms +running +yes +yes/ },
    { words: ['pool-dumpxml', 'vms'], shows: /<name>ns<\/name>/ },
    { words: ['pool-uuid', 'vms'], shows: new RegExp(`^${UUID}$`, 'm') },
    { words: ['pool-name', UUID], shows: /^vms$/m },
    { words: ['pool-refresh', 'vms'], shows: SILENCE },
    {
      words: ['pool-event', '--event', 'refresh', '--timeout', '20'],
      meanwhile: ['pool-refresh', 'vms'],
      shows: /event 'refresh' for storage pool vms/,
    },
  ];
}

function volumeSteps(folder: string): Step[] {
  const file = (name: string) => join(folder, name);
  return [
    { words: ['vol-create', 'vms', file('volume.xml')], proof: [['vol-info', 'one', 'vms'], /8.00 MiB/] },
    { words: ['vol-create-as', 'vms', 'disk', '16M'], proof: [['vol-info', 'disk', 'vms'], /16.00 MiB/] },
    { words: ['vol-list', 'vms', '--details'], shows: /disk +nbd:\/\/\S+ +network +16.00 MiB +0.00 B/ },
    { words: ['vol-upload', 'disk', file('data'), '--pool', 'vms'], shows: SILENCE },
    { words: ['vol-download', 'disk', file('copy'), '--pool', 'vms', '--sparse'], shows: SILENCE },
    { words: ['vol-info', 'disk', 'vms'], shows: /Type: +network\n[\s\S]*Allocation: +8.00 MiB/ },
    { words: ['vol-clone', 'disk', 'clone', '--pool', 'vms'], proof: [['vol-list', 'vms'], /clone +\S/] },
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

/** What the steps read, in `folder`. */
export function writeStepFiles(kind: PoolKind, folder: string): void {
  const write = (name: string, text: string | Buffer, mode = 0o644) =>
    writeFileSync(join(folder, name), text, { mode });
  const volume = (name: string, sizeMib: number) =>
    `<volume><name>${name}</name><capacity unit='MiB'>${sizeMib}</capacity></volume>`;
  write('pool.xml', kind.xml('vms', `<uuid>${UUID}</uuid>`));
  write('transient.xml', kind.xml('t', ''));
  write('volume.xml', volume('one', 8));
  write('from.xml', volume('bigger', 32));
  write('editor', `#!/bin/sh\nexec sed -i '${kind.edit[0]}' "$1"\n`, 0o755);
  write('data', Buffer.alloc(5_000_000, 'sheep'));
}
