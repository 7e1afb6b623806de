/** One column of the table of virsh commands: every command is run, and its outcome noted. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import type { ColumnName } from '../helpers/command-table.js';
import { keepColumn } from '../helpers/command-table.js';
import type { VirshResult } from '../helpers/pool-daemon.js';
import { type PoolKind, type Step, stepsFor, writeStepFiles } from './pool-steps.js';

/** A virsh that reaches what is tested; never rejects because of its exit code. */
export type Virsh = (words: readonly string[], env?: Record<string, string>) => Promise<VirshResult>;

export interface ColumnRun {
  readonly name: ColumnName;
  readonly virsh: Virsh;
  readonly kind: PoolKind;
  /** For files that commands read and write; virsh sees it under the same name. */
  readonly folder: string;
  /** Which program does what virsh asks for, with its version. */
  readonly daemon: string;
}

/** Rejects when a command does other than it should, when one is left out, or when the table says otherwise. */
export async function runColumn(run: ColumnRun): Promise<void> {
  const { kind, folder } = run;
  writeStepFiles(kind, folder);
  const outcomes = new Map<string, string>();
  const steps = stepsFor(kind, folder);
  for (const step of steps) outcomes.set(step.words[0]!, await outcomeOf(run, step));
  const copy = join(folder, 'copy');
  if (outcomes.get('vol-download') === 'done') {
    const data = readFileSync(join(folder, 'data'));
    assert.ok(readFileSync(copy).subarray(0, data.length).equals(data), 'what was uploaded is downloaded');
  } else assert.is(existsSync(copy) ? readFileSync(copy).length : 0, 0, 'nothing is downloaded');
  assert.equal([...outcomes.keys()].sort(), (await commandsOf(run.virsh)).sort());
  const virsh = (await must(run, ['--version'])).trim();
  keepColumn(run.name, { versions: { virsh, daemon: run.daemon }, outcomes });
}

async function outcomeOf(run: ColumnRun, step: Step): Promise<string> {
  const path = step.words.includes('PATH') ? (await must(run, ['vol-path', 'disk', 'vms'])).trim() : '';
  const words = step.words.map((word) => (word === 'PATH' ? path : word));
  const { exit, stdout, stderr } = await runStep(run, step, words);
  const line = `virsh ${words.join(' ')}`;
  assert.is(exit === 0, step.refused !== true, `${line}: exit ${exit} ${stderr}`);
  if (step.shows !== undefined) assert.match(exit === 0 ? stdout : stderr, step.shows, line);
  if (step.proof !== undefined) assert.match(await must(run, step.proof[0]), step.proof[1], line);
  if (exit === 0) return 'done';
  return stderr
    .trim()
    .split('\n')
    .at(-1)!
    .replace('error: ', '')
    .replaceAll(/'\/\S*'/g, 'FOLDER');
}

async function runStep(run: ColumnRun, step: Step, words: readonly string[]): Promise<VirshResult> {
  const running = run.virsh(words, step.env);
  if (step.meanwhile === undefined) return running;
  let over = false;
  void running.finally(() => {
    over = true;
  });
  while (!over) await must(run, step.meanwhile);
  return running;
}

async function must({ virsh }: ColumnRun, words: readonly string[]): Promise<string> {
  const { exit, stdout, stderr } = await virsh(words);
  if (exit !== 0) throw new Error(`virsh ${words.join(' ')}: exit ${exit}: ${stderr}`);
  return stdout;
}

async function commandsOf(virsh: Virsh): Promise<string[]> {
  const outputs = await Promise.all(['pool', 'volume'].map((group) => virsh(['help', group])));
  return outputs.flatMap(({ stdout }) => [...stdout.matchAll(/^ {4}(\S+) /gm)].map(([, name]) => name!));
}
