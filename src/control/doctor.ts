import type { DoctorNode, DoctorReport, DoctorState, Finding, Severity } from './doctor-api.js';
import { dataRules } from './doctor-data.js';
import { nodeRules } from './doctor-nodes.js';
import { shapeRules } from './doctor-shape.js';
import { spaceRules } from './doctor-space.js';
import { counted, isAre } from './doctor-words.js';

/**
 * What is wrong, what is at risk, and what to do next: pure rules over what the sheep say. Each looks at one thing and
 * says nothing when that is as it should be. A command that is named does no harm: it asks before it gives anything up.
 */
export type Rule = (facts: Facts) => Finding[];

/** The state, joined as rules want it. */
export class Facts {
  /** Members in the order of their addresses. */
  readonly nodes: readonly DoctorNode[];
  readonly formatted: boolean;

  constructor(readonly state: DoctorState) {
    const { cluster, members } = state.situation;
    const byId = new Map(members.map((member) => [member.id, member]));
    this.nodes = cluster.nodes.map((node) => ({ hostId: '', ...byId.get(node.id), ...node }));
    this.formatted = cluster.status !== 'wait-for-format';
  }

  get situation() {
    return this.state.situation;
  }

  /** Those that objects lie on, or shall. */
  get holders(): readonly DoctorNode[] {
    return this.nodes.filter((node) => node.vnodes > 0 && (node.in || !node.empty));
  }

  get up(): readonly DoctorNode[] {
    return this.nodes.filter((node) => node.up);
  }

  /** What a sheep says of itself; undefined when it was not asked or did not answer. */
  readonly report = (id: string): DoctorReport | undefined => {
    const report = this.state.reports[id];
    return report === undefined || 'error' in report ? undefined : report;
  };

  readonly nameOf = (id: string): string => {
    const node = this.nodes.find((n) => n.id === id);
    return node === undefined ? id : addressOf(node);
  };

  /** Something is to be recovered, or will be. */
  get recovers(): boolean {
    return (
      this.situation.move !== undefined ||
      this.nodes.some((n) => n.behind || n.incomplete || n.moving || (n.in && !n.up))
    );
  }
}

export function addressOf({ host, port }: { host: string; port: number }): string {
  return `${host}:${port}`;
}

const order: Readonly<Record<Severity, number>> = { bad: 0, risk: 1, note: 2 };

/** Worst first; of equal severity those that are about data come before those about sheep, room and shape. */
export function diagnose(state: DoctorState): Finding[] {
  const facts = new Facts(state);
  const findings = [...dataRules, ...nodeRules, ...spaceRules, ...shapeRules].flatMap((rule) => rule(facts));
  return findings.sort((a, b) => order[a.severity] - order[b.severity]);
}

/** One sentence for all of it. */
export function summarise(state: DoctorState, findings: readonly Finding[]): string {
  const count = (severity: Severity) => findings.filter((f) => f.severity === severity).length;
  const facts = new Facts(state);
  const sheep = `${facts.up.length} of ${counted(facts.nodes.length, 'sheep', 'sheep')} up`;
  const bad = count('bad');
  if (bad > 0) return `Something is wrong (${sheep}): ${counted(bad, 'thing')} to see to first.`;
  const risks = count('risk');
  if (risks > 0) return `All data is served (${sheep}); ${counted(risks, 'thing')} ${isAre(risks)} at risk.`;
  return `All is well: ${sheep}, everything in sync.`;
}
