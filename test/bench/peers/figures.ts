/** The rows of the report, out of what was measured: one figure of each target in each round, without noisy rounds. */
import { medianRatio, type Spread, spread } from '../statistics.js';
import type { TargetName } from '../targets.js';

/** What one target reached in one round. */
export interface Cell {
  readonly value: number;
  /** Of the machine's time meanwhile: what other virtual machines took. */
  readonly stolenShare: number;
}

export type Round = Partial<Record<TargetName, Cell>>;

export interface Figure {
  readonly name: string;
  readonly unit: string;
  /** Whether a larger or a smaller figure is the better one. */
  readonly better: 'more' | 'less';
  readonly rounds: readonly Round[];
}

/** Rounds in which nobody was robbed of more than the bound: else one of a pair would be compared at a loss. */
export function quietRounds(figure: Figure, stolenShareMax: number): Round[] {
  return figure.rounds.filter((round) =>
    Object.values(round).every((cell) => cell.stolenShare <= stolenShareMax),
  );
}

/** Undefined when the target has no figure in these rounds. */
export function spreadOver(rounds: readonly Round[], name: TargetName): Spread | undefined {
  const values = rounds.flatMap((round) => round[name]?.value ?? []);
  return values.length === 0 ? undefined : spread(values);
}

/**
 * How many times better Sheepfold is than another, as the median over pairs of the same round: its rate by the other's,
 * or the other's cost by its. Undefined without a pair.
 */
export function advantage(figure: Figure, rounds: readonly Round[], name: TargetName): number | undefined {
  const pairs = rounds.filter((round) => round.sheepfold !== undefined && round[name] !== undefined);
  const own = pairs.map((round) => round.sheepfold!.value);
  const other = pairs.map((round) => round[name]!.value);
  const ratio = figure.better === 'more' ? medianRatio(own, other) : medianRatio(other, own);
  return Number.isFinite(ratio) ? ratio : undefined;
}
