import type { Finding, Severity } from '../../control/doctor-api.js';
import { diskRules } from './disk-rules.js';
import type { MigrationFacts } from './facts.js';
import { hostRules } from './host-rules.js';
import { volumeRules } from './volume-rules.js';

/** Whether a domain can move, from the facts alone. */

const order: Readonly<Record<Severity, number>> = { bad: 0, risk: 1, note: 2 };

/** Worst first; of equal severity the hypervisors come before the disks. */
export function judgeMigration(facts: MigrationFacts): Finding[] {
  const findings = [...hostRules, ...diskRules, ...volumeRules].flatMap((rule) => rule(facts));
  return findings.sort((a, b) => order[a.severity] - order[b.severity]);
}

/** One sentence for all of it. */
export function summariseMigration({ domain, uri }: MigrationFacts, findings: readonly Finding[]): string {
  const bad = findings.filter(({ severity }) => severity === 'bad').length;
  if (bad > 0) return `${domain.name} cannot move to ${uri}: it stays where it is.`;
  const risks = findings.filter(({ severity }) => severity === 'risk').length;
  if (risks > 0) return `${domain.name} can move to ${uri}, as far as can be told from here.`;
  return `${domain.name} can move to ${uri}.`;
}
