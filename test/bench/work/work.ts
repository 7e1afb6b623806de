/** What a piece of other work is: one idea per file of this folder, measured at every target that can do it. */
import type { Cell } from '../peers/figures.js';
import type { Target } from '../targets.js';

/** A row of the table. */
export interface WorkFigure {
  readonly name: string;
  readonly unit: string;
  /** Whether a larger or a smaller figure is the better one. */
  readonly better: 'more' | 'less';
  /** Of `WorkCell.cpu`; none where it is not counted. */
  readonly cpuUnit?: string;
}

export interface WorkCell extends Cell {
  /** Of all daemons of the target and of the clients, in the figure's own unit. */
  readonly cpu?: number;
}

/** Where and how much. */
export interface Place {
  /** Of the measured volume. */
  readonly sizeBytes: number;
  /** Of a cell that goes by time. */
  readonly seconds: number;
  /** For files, on the disk that all stores lie on; it goes when the bench ends. */
  readonly folder: string;
}

export interface Work {
  readonly figures: readonly WorkFigure[];
  /** How it is measured, for below the table. */
  readonly note: string;
  /** Why a target cannot do it, in words; undefined when it can. */
  missing(target: Target): string | undefined;
  /** Once for each target, before the first round. */
  prepare?(target: Target, place: Place): Promise<void>;
  /**
   * One round: a cell for each of the figures, in their order, or undefined for one that noise made none. What it needs
   * as it was before, it puts back. Rejects when a client fails, or when what should have been done was not.
   */
  measure(target: Target, place: Place, run: number): Promise<readonly (WorkCell | undefined)[]>;
}
