/** A table of other work, as it was measured: its columns, and the rounds of its rows. */
import type { WorkCell, WorkFigure } from './work.js';

export interface WorkColumn {
  readonly name: string;
  readonly title: string;
}

export type WorkRound = Partial<Record<string, WorkCell>>;

export interface WorkRow extends WorkFigure {
  readonly rounds: readonly WorkRound[];
}

export interface WorkTable {
  readonly title: string;
  readonly columns: readonly WorkColumn[];
  /** The column that the others are compared with. */
  readonly own: string;
  readonly rows: readonly WorkRow[];
  /** How rows are measured. */
  readonly notes: readonly string[];
}
