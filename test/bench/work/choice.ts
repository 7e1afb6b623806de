/** Which of the other work is wanted: what has the text of `--only` in one of its names. */
import { peerRows } from '../peers/rows.js';
import type { Workload } from '../workloads.js';
import { clonesWork } from './clones.js';
import { convertWork } from './convert.js';
import { deleteWork } from './delete.js';
import { discardWork } from './discard.js';
import { DOORS_TITLE, doorRows } from './doors.js';
import { guestWork } from './guest.js';
import { mixedWork } from './mixed.js';
import { nbdcopyWork } from './nbdcopy.js';
import { SHEEP_COUNT_TITLE } from './sheep-count.js';
import type { Work } from './work.js';

export interface WorkChoice {
  readonly works: readonly Work[];
  /** By Sheepfold's doors. */
  readonly doorRows: readonly Workload[];
  /** By clusters of several sizes. */
  readonly sheepCountRows: readonly Workload[];
}

/** Undefined when nothing is left. The rows of the second and third table are called `TITLE: ROW`. */
export function chooseWork(sizeBytes: number, only: string): WorkChoice | undefined {
  const all = [
    ...[mixedWork(), discardWork(sizeBytes), deleteWork(sizeBytes), clonesWork(sizeBytes)],
    ...[convertWork(), nbdcopyWork(), guestWork()],
  ];
  const works = all.filter(({ figures }) => figures.some(({ name }) => name.includes(only)));
  const named = (title: string, rows: readonly Workload[]) =>
    rows.filter(({ name }) => `${title}: ${name}`.includes(only));
  const choice = {
    works,
    doorRows: named(DOORS_TITLE, doorRows(sizeBytes)),
    sheepCountRows: named(SHEEP_COUNT_TITLE, peerRows(sizeBytes)),
  };
  return Object.values(choice).some((list) => list.length > 0) ? choice : undefined;
}
