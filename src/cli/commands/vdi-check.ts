import type { Command } from 'commander';
import type { CheckFinding, ControlResult, VdiRef } from '../../control/api.js';
import { vdiRef } from '../arguments.js';
import type { Context } from '../context.js';
import { Exit, exitCodes, refusal } from '../exit.js';
import { addLeaf, type Runner } from '../leaf.js';
import { openProgress } from '../progress.js';
import { openObjects } from './vdi-object.js';

type Answer = ControlResult<'vdi.check'>;

interface CheckOptions {
  snapshot?: string;
  exist?: boolean;
  repair?: boolean;
  /** All versions are checked: what two of them share, once. */
  all?: boolean;
}

/** Compares the replicas of a volume, and makes them right. */
export function vdiCheckCommands(parent: Command, runner: Runner): void {
  addLeaf<CheckOptions>(parent, runner, {
    usage: 'check <name>',
    summary: 'compare the replicas of every object, and repair what differs',
    details: `Every block of every replica is read and held against its checksum, then the replicas against each other.
The volume may be in use. Replicas on sheep that are down or catching up are not looked at.
Exit code 1: something is wrong that could not be repaired (or was not to be, with -n or -e).`,
    examples: ['dog vdi check first', 'dog vdi check first -s golden -n'],
    options: [
      ['-s, --snapshot <snapshot>', 'check this snapshot, by tag or id'],
      ['-e, --exist', 'only look whether the replicas are there'],
      ['-n, --no-repair', 'only report'],
    ],
    run: check,
  });
}

async function check(context: Context, [name]: string[], options: CheckOptions): Promise<void> {
  const answer = await checkVdi(context, vdiRef(name!, options.snapshot), options);
  if (context.json) await context.printJson(answer);
  if (wrongAfter(answer) > 0) throw new Exit(exitCodes.failure, '');
}

/** Objects that were found wrong and still are. */
export function wrongAfter(answer: Answer): number {
  return answer.findings - answer.repaired;
}

/** Checks one volume or snapshot and, unless JSON is wanted, prints what was found. */
export async function checkVdi(context: Context, ref: VdiRef, options: CheckOptions = {}): Promise<Answer> {
  const { name } = ref;
  const mode = options.exist === true ? 'existence' : options.repair === false ? 'compare' : 'repair';
  await openObjects(context, ref, 'no inode objects');
  const progress = await openProgress(context, `checking ${name}`);
  const answer = await context
    .call(
      'vdi.check',
      { ...ref, mode, ...(options.all && { inherited: false }) },
      { onProgress: (p) => progress.update(p) },
    )
    .catch((error: unknown) => {
      throw refusal(`Failed to check VDI ${name}`, error);
    })
    .finally(() => progress.stop());
  if (context.json) return answer;
  if (mode === 'existence') await printMissing(context, name, answer);
  else await printFindings(context, name, answer, mode === 'repair');
  tellUnchecked(context, answer);
  if (answer.headers > 0) {
    context.note(`the inode of ${name} ${mode === 'repair' ? 'was' : 'is'} not up to date with its record`);
  }
  return answer;
}

async function printMissing(context: Context, name: string, answer: Answer): Promise<void> {
  for (const { oid, outcome, replicas } of answer.found) {
    if (outcome === 'unreachable') context.note(`no node that is up has ${oid}`);
    for (const { host, port, state } of replicas) {
      if (state === 'missing') await context.printLine(`[${host}:${port}] oid ${oid} is missing.`);
    }
  }
  const lost = answer.found.reduce((sum, { replicas }) => sum + missing(replicas), 0);
  await context.printLine(
    answer.findings === 0
      ? `${name} is fine, no object is missing.`
      : `${name} lost ${Math.max(lost, answer.findings)} object(s).`,
  );
}

function missing(replicas: CheckFinding['replicas']): number {
  return replicas.filter(({ state }) => state === 'missing').length;
}

async function printFindings(context: Context, name: string, answer: Answer, repair: boolean): Promise<void> {
  for (const finding of answer.found) await printFinding(context, finding);
  const left = answer.findings - answer.found.length;
  if (left > 0) context.note(`${left} more objects are not right`);
  await context.printLine(repair ? `finish check&repair ${name}` : `finish check ${name}`);
}

async function printFinding(context: Context, { oid, outcome, replicas }: CheckFinding): Promise<void> {
  const wrong = replicas.filter(({ state }) => state !== 'good');
  switch (outcome) {
    case 'repaired':
      for (const { state } of wrong) {
        await context.printLine(`fixed ${state === 'missing' ? 'missing' : 'replica'} ${oid}`);
      }
      return;
    case 'differ':
      for (const { host, port, state } of wrong) {
        await context.printLine(
          `[${host}:${port}] ${oid} is ${state === 'missing' ? 'missing' : 'not right'}`,
        );
      }
      return;
    case 'waiting':
      return context.note(`${oid} differs, and cannot be repaired while too few sheep are up`);
    case 'unclear':
      return context.note(`no majority of ${oid}`);
    case 'lost':
      return context.note(`no node has ${oid}`);
    case 'unreachable':
      return context.note(`no node that is up has ${oid}`);
  }
}

function tellUnchecked(context: Context, { unchecked }: Answer): void {
  if (unchecked === 0 || context.json) return;
  context.note(`${unchecked} object(s) have copies on sheep that are down or catching up: not checked there`);
}
