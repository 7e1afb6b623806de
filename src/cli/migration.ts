import { AppError } from '../base/errors.js';
import { type Ending, endingOf, type Whereabouts } from '../vm/migrate/ending.js';
import {
  fetchFigures,
  type MigrationFigures,
  MigrationJob,
  type MigrationOrder,
  stateAt,
} from '../vm/migrate/job.js';
import type { Virsh } from '../vm/virsh.js';
import type { Context } from './context.js';
import { Exit, exitCodes } from './exit.js';
import { openProgress, type Progress } from './progress.js';

/** A migration under way: shown, given up when somebody wants that, and looked at on both sides when it is over. */

const LOOK_MS = 300;
/** Without its daemon the destination cannot take the guest, and nobody notices before all memory has gone. */
const DESTINATION_LOOK_MS = 5_000;
const DESTINATION_SILENCES_MAX = 3;
/** After a failure the source may still be putting the guest back. */
const SETTLE_MS = 15_000;

export interface MigrationRun {
  readonly source: Virsh;
  readonly destination: Virsh;
  readonly order: MigrationOrder;
  /** Before: `running` or `paused`, as it is to be afterwards. */
  readonly state: string;
  /** The migration is given up then. */
  readonly timeoutMs: number | undefined;
  /** How long it may take after the end until the domain is at one of the two as it was. */
  readonly settleMs?: number;
}

/** Resolves when the domain runs there, and not here. Rejects with Exit, which says where it is. */
export async function runMigration(context: Context, run: MigrationRun): Promise<MigrationFigures> {
  const { source, destination, order, state } = run;
  const outcome = await follow(context, run);
  const places = await settled(run);
  const ending = endingOf(state, places);
  if (ending === 'arrived') {
    if (outcome.error !== undefined) context.note(`virsh says: ${outcome.error.message}`);
    return fetchFigures(destination, order.domain).catch(() => noFigures);
  }
  const reason = outcome.givenUp ?? outcome.error?.message ?? 'virsh says that it moved';
  const text = `Failed to move ${order.domain}: ${reason}`;
  throw new Exit(exitCodes.failure, `${text}\n${whereText(run, places, ending)}`, {
    hint: hintFor(ending, order.domain, source, destination),
  });
}

const noFigures: MigrationFigures = { downtimeMs: undefined, totalMs: undefined, bytes: undefined };

interface Outcome {
  readonly error: AppError | undefined;
  /** Why we ended it. */
  readonly givenUp: string | undefined;
}

async function follow(context: Context, run: MigrationRun): Promise<Outcome> {
  const { source, destination, order, timeoutMs } = run;
  const job = new MigrationJob(source, order);
  const progress = await openProgress(context, `moving ${order.domain}`);
  let givenUp: string | undefined;
  const giveUp = (reason: string) => {
    if (givenUp === undefined) void job.abort();
    givenUp ??= reason;
  };
  const interrupted = () => giveUp('interrupted');
  const timer =
    timeoutMs === undefined ? undefined : setTimeout(giveUp, timeoutMs, 'it took longer than --timeout');
  process.on('SIGINT', interrupted).on('SIGTERM', interrupted);
  const over = new AbortController();
  const ended = job.ended
    .then(
      () => undefined,
      (error: unknown) => AppError.from(error),
    )
    .finally(() => over.abort());
  try {
    await Promise.all([
      show(job, progress, over.signal),
      watchDestination(destination, order.domain, over.signal, giveUp),
    ]);
    return { error: await ended, givenUp };
  } finally {
    clearTimeout(timer);
    process.off('SIGINT', interrupted).off('SIGTERM', interrupted);
    progress.stop();
  }
}

async function show(job: MigrationJob, progress: Progress, over: AbortSignal): Promise<void> {
  while (!over.aborted) {
    const state = await job.progress();
    if (state !== undefined && !over.aborted) {
      progress.update({ done: state.doneBytes, total: state.totalBytes, unit: 'bytes' });
    }
    await pause(LOOK_MS, over);
  }
}

async function watchDestination(
  destination: Virsh,
  domain: string,
  over: AbortSignal,
  giveUp: (reason: string) => void,
): Promise<void> {
  let silences = 0;
  while (!over.aborted) {
    await pause(DESTINATION_LOOK_MS, over);
    if (over.aborted) return;
    silences = (await stateAt(destination, domain)) === undefined ? silences + 1 : 0;
    if (silences === DESTINATION_SILENCES_MAX) giveUp('the destination does not answer any more');
  }
}

/** Ends early when it is over. */
function pause(ms: number, over: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      over.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    if (over.aborted) done();
    else over.addEventListener('abort', done);
  });
}

/** As soon as one of them has it as it was before. */
async function settled(run: MigrationRun): Promise<Whereabouts> {
  const { source, destination, order, state, settleMs = SETTLE_MS } = run;
  for (const endMs = performance.now() + settleMs; ; ) {
    const asked = [source, destination].map((virsh) => stateAt(virsh, order.domain));
    const [here, there] = await Promise.all(asked);
    if (here === state || there === state || performance.now() > endMs) return { here, there };
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
}

function whereText({ order, state }: MigrationRun, { here, there }: Whereabouts, ending: Ending): string {
  const { domain } = order;
  if (ending === 'stayed') {
    return state === 'running' ? `${domain} runs on where it was.` : `${domain} is ${state} where it was.`;
  }
  const told = (found: string | undefined) => found ?? 'not to be asked for';
  return `${domain} is ${told(here)} at the source, and ${told(there)} at the destination.`;
}

/** Which of two that may both have it is right only a person can say: nothing is resumed or ended here. */
function hintFor(ending: Ending, domain: string, source: Virsh, destination: Virsh): string {
  if (ending === 'stayed') return "'dog vm migrate --check' says what stands in the way; then try again.";
  const look = [source, destination].map((virsh) => commandText(virsh, 'domstate', domain));
  if (ending === 'unclear') return `Look at both: ${look.join(', ')}.`;
  const resume = commandText(source, 'resume', domain);
  return `If it does not run at the destination (${look[1]}), ${resume} lets it go on at the source.`;
}

/** To be pasted into a shell. */
function commandText(virsh: Virsh, ...words: string[]): string {
  const line = virsh.commandLine(words).filter((word) => word !== '-q');
  return line.map((word) => (/^[\w./:+=@-]+$/.test(word) ? word : `'${word}'`)).join(' ');
}
