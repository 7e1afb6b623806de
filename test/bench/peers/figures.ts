/** The rows of the report, out of what was measured: one figure of each target in each round, without noisy rounds. */
import { medianRatio, type Spread, spread } from '../statistics.js';
import type { TargetName } from '../targets.js';

/** What one target reached in one round. */
export interface Cell {
  readonly value: number;
  /** Of the machine's time meanwhile: what other virtual machines took. */
  readonly stolenShare: number;
}

/** Of each column of a table, which are the targets if nothing else is said. */
export type Round<Name extends string = TargetName> = Partial<Record<Name, Cell>>;

export interface Figure<Name extends string = TargetName> {
  readonly name: string;
  readonly unit: string;
  /** Whether a larger or a smaller figure is the better one. */
  readonly better: 'more' | 'less';
  readonly rounds: readonly Round<Name>[];
}

/** Rounds in which nobody was robbed of more than the bound: else one of a pair would be compared at a loss. */
export function quietRounds<Name extends string>(
  figure: Figure<Name>,
  stolenShareMax: number,
): Round<Name>[] {
  return figure.rounds.filter((round) =>
    (Object.values(round) as Cell[]).every((cell) => cell.stolenShare <= stolenShareMax),
  );
}

/** Undefined when the target has no figure in these rounds. */
export function spreadOver<Name extends string>(
  rounds: readonly Round<Name>[],
  name: Name,
): Spread | undefined {
  const values = rounds.flatMap((round) => round[name]?.value ?? []);
  return values.length === 0 ? undefined : spread(values);
}

/**
 * How many times better `ownName` is than another, as the median over pairs of the same round: its rate by the other's,
 * or the other's cost by its. Undefined without a pair.
 */
export function advantage<Name extends string>(
  figure: Figure<Name>,
  rounds: readonly Round<Name>[],
  name: Name,
  ownName = 'sheepfold' as Name,
): number | undefined {
  const pairs = rounds.filter((round) => round[ownName] !== undefined && round[name] !== undefined);
  const own = pairs.map((round) => round[ownName]!.value);
  const other = pairs.map((round) => round[name]!.value);
  const ratio = figure.better === 'more' ? medianRatio(own, other) : medianRatio(other, own);
  return Number.isFinite(ratio) ? ratio : undefined;
}
