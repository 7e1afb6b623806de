import type { Finding } from '../../control/doctor-api.js';
import { type Destination, isSilent, type MigrationFacts } from './facts.js';

/**
 * A rule looks at one thing and says nothing when that is as it should be. `bad`: the domain must not move, or could
 * not. `risk`: it can, and something cannot be told from here or is not promised. `note`: good to know.
 */
export type Rule = (facts: MigrationFacts) => Finding[];

/** About what the destination says. */
export type DestinationRule = (facts: MigrationFacts, destination: Destination) => Finding[];

/** A rule that is silent while the destination is. */
export function ofDestination(rule: DestinationRule): Rule {
  return (facts) => (isSilent(facts.destination) ? [] : rule(facts, facts.destination));
}
