/** The rounds of other work: in each, every piece at every target, the targets in turn. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import type { Settings } from '../options.js';
import { Field } from '../peers/field.js';
import { reason } from '../peers/reason.js';
import { say } from '../progress.js';
import { type SheepfoldTarget, type Target, type TargetName, targetTitles } from '../targets.js';
import type { WorkChoice } from './choice.js';
import { doorsTable } from './doors.js';
import { sheepCountTable } from './sheep-count.js';
import type { WorkRound, WorkTable } from './table.js';
import type { Place, Work } from './work.js';

/** Sheepfold's failures end it; any other target is left out of the piece of work that it failed at. */
export async function measureWork(
  choice: WorkChoice,
  settings: Settings,
  targets: readonly Target[],
): Promise<WorkTable[]> {
  const folder = mkdtempSync(join(tmpdir(), 'sheepfold-bench-'));
  const remove = () => rmSync(folder, { recursive: true, force: true });
  process.once('exit', remove);
  const { sizeBytes, seconds } = settings;
  const own = targets.find((target): target is SheepfoldTarget => target.name === 'sheepfold')!;
  try {
    return [
      ...(await targetsTable(choice.works, { sizeBytes, seconds, folder }, settings.runs, targets)),
      ...(await doorsTable(choice.doorRows, settings, own)),
      ...(await sheepCountTable(choice.sheepCountRows, settings)),
    ];
  } finally {
    remove();
    process.off('exit', remove);
  }
}

interface Piece {
  readonly work: Work;
  readonly field: Field<TargetName, Target>;
  /** One array of rounds for each figure. */
  readonly rounds: WorkRound[][];
}

async function targetsTable(
  works: readonly Work[],
  place: Place,
  runs: number,
  targets: readonly Target[],
): Promise<WorkTable[]> {
  if (works.length === 0) return [];
  const pieces: Piece[] = [];
  for (const work of works) {
    const able = await prepared(work, place, targets);
    pieces.push({
      work,
      field: new Field<TargetName, Target>(able, ['sheepfold']),
      rounds: work.figures.map(() => []),
    });
  }
  for (let run = 0; run < runs; run++) {
    say(`other work, round ${run + 1} of ${runs}`);
    for (const piece of pieces) await measureRound(piece, place, run);
  }
  return [
    {
      title: 'Other work',
      own: 'sheepfold',
      columns: targets.map(({ name }) => ({ name, title: targetTitles[name] })),
      rows: pieces.flatMap(({ work, rounds }) =>
        work.figures.map((figure, index) => ({ ...figure, rounds: rounds[index]! })),
      ),
      notes: works.map(({ note }) => note),
    },
  ];
}

async function measureRound({ work, field, rounds }: Piece, place: Place, run: number): Promise<void> {
  const all = await field.round(run, async (target) => {
    say(`${work.figures[0]!.name}: ${target.name}`);
    // What the system before left in the page cache is nobody else's to write.
    await execa('sync');
    return work.measure(target, place, run);
  });
  for (const [index, round] of rounds.entries()) {
    const cells = Object.entries(all).map(([name, each]) => [name, each[index]] as const);
    round.push(Object.fromEntries(cells.filter(([, cell]) => cell !== undefined)));
  }
}

/** Those that can do the work; the reasons of the others are said. */
async function prepared(work: Work, place: Place, targets: readonly Target[]): Promise<Target[]> {
  const able: Target[] = [];
  for (const target of targets) {
    const what = `${work.figures[0]!.name} at ${target.name}`;
    const missing = work.missing(target);
    if (missing !== undefined) {
      say(`left out: ${what} (${missing})`);
      continue;
    }
    try {
      await work.prepare?.(target, place);
      able.push(target);
    } catch (error) {
      if (target.name === 'sheepfold') throw error;
      say(`left out: ${what} (${reason(error)})`);
    }
  }
  return able;
}
