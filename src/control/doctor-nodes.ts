/** Rules about single sheep: which are away, behind, given up, or not what they were started as. */
import { addressOf, type Rule } from './doctor.js';
import type { DoctorNode, Finding, Severity } from './doctor-api.js';
import { counted, isAre, listed, time } from './doctor-words.js';

const HOUR_MS = 3_600_000;
const MAINTENANCE_LONG_MS = 24 * HOUR_MS;
const CLOCKS_APART_MS = 10_000;
const LEASE_SHORT_MS = 1500;

/** All that are down in one finding: a machine that fails takes several along. */
const down: Rule = ({ nodes, situation, formatted, holders }) => {
  const away = nodes.filter((n) => !n.up && n.in && !n.maintenance && n.asideReason === undefined);
  if (!formatted || away.length === 0) return [];
  const names = away.map(addressOf);
  const since = Math.min(...away.map((n) => n.downSinceWallMs ?? situation.wallMs));
  const holdsAny = away.some((n) => n.vnodes > 0);
  const left = holders.filter((n) => n.up && n.in).length;
  const copies = Math.max(situation.cluster.copies, ...situation.volumes.map((v) => v.copies));
  const { downOutMs, recoveryPaused } = situation;
  const waits = downOutMs === 0 || recoveryPaused || left < copies;
  const one = away.length === 1;
  const whatNext = !holdsAny
    ? 'No objects lie there.'
    : waits
      ? `${one ? 'It is' : 'They are'} waited for, however long that takes.`
      : `What lies on a sheep that is down for ${time(downOutMs)} is placed on others.`;
  return [
    {
      rule: 'node-down',
      severity: holdsAny ? 'risk' : 'note',
      text: `${listed(names)} ${isAre(away.length)} down, since ${time(situation.wallMs - since)}. ${whatNext}`,
      next: {
        command: `start the sheep ${listed(names)}`,
        effect: `${one ? 'It takes' : 'They take'} over only what was written meanwhile.`,
      },
      ...(holdsAny &&
        left >= copies && {
          otherwise: {
            command: `dog node out ${names[0]} --dry-run`,
            effect: 'If it will not come back soon: says what placing its objects elsewhere would move.',
          },
        }),
    },
  ];
};

const maintenance: Rule = ({ nodes, situation }) =>
  nodes
    .filter((n) => n.maintenance)
    .map((node): Finding => {
      const name = addressOf(node);
      const forMs = situation.wallMs - (node.maintenanceSinceWallMs ?? situation.wallMs);
      const long = forMs > MAINTENANCE_LONG_MS;
      const text = long
        ? `${name} has been in maintenance for ${time(forMs)} and is ${node.up ? 'up' : 'down'}: was that forgotten?`
        : `${name} is in maintenance and ${node.up ? 'up' : 'down'}: it is not given up, however long it is away.`;
      return {
        rule: 'maintenance',
        severity: long || !node.up ? 'risk' : 'note',
        text,
        next: {
          command: `dog node maintenance ${name} --end`,
          effect: 'When the work is done: from then on it counts as any other sheep.',
        },
      };
    });

const out: Rule = ({ nodes }) =>
  nodes
    .filter((n) => !n.in && n.outBy !== undefined)
    .map((node): Finding => {
      const name = addressOf(node);
      if (node.outBy === 'delay') {
        return {
          rule: 'node-given-up',
          severity: 'note',
          text: `${name} was down for too long: its objects ${node.empty ? 'lie' : 'are being placed'} elsewhere.`,
          next: { command: `start the sheep ${name}`, effect: 'It is given objects again by itself.' },
          otherwise: {
            command: `dog node remove ${name}`,
            effect: 'If it will not come back: it is forgotten. Refused while objects lie on it.',
          },
        };
      }
      if (!node.empty) {
        return {
          rule: 'node-draining',
          severity: 'note',
          text: `${name} is being emptied; it still holds objects.`,
          next: { command: 'dog cluster recover status', effect: 'Shows how long that takes.' },
        };
      }
      return {
        rule: 'node-empty',
        severity: 'note',
        text: `${name} holds no objects any more, as somebody asked.`,
        next: node.up
          ? { command: `dog node in ${name}`, effect: 'Gives it objects again; or stop it, and remove it.' }
          : { command: `dog node remove ${name}`, effect: 'It is no member any more.' },
      };
    });

interface Recovering {
  readonly rule: string;
  readonly severity: Severity;
  readonly isSo: (node: DoctorNode) => boolean | undefined;
  readonly one: string;
  readonly several: string;
}

const kinds: readonly Recovering[] = [
  {
    rule: 'node-incomplete',
    severity: 'risk',
    isSo: (n) => n.incomplete,
    one: 'lost objects (a disk is gone) and is given them again',
    several: 'lost objects (disks are gone) and are given them again',
  },
  {
    rule: 'node-behind',
    severity: 'risk',
    isSo: (n) => n.behind && !n.incomplete,
    one: 'catches up with what it missed',
    several: 'catch up with what they missed',
  },
  {
    rule: 'node-moving',
    severity: 'note',
    isSo: (n) => n.moving && !n.behind && !n.incomplete,
    one: 'is given objects',
    several: 'are given objects',
  },
];

/** Together: after a restart of everything all catch up, and most moves concern many. */
const recovers: Rule = ({ up }) =>
  kinds.flatMap(({ rule, severity, isSo, one, several }): Finding[] => {
    const nodes = up.filter((n) => isSo(n) === true);
    if (nodes.length === 0) return [];
    const sum = (what: 'done' | 'total') => nodes.reduce((all, n) => all + (n.progress?.[what] ?? 0), 0);
    const etas = nodes.flatMap((n) => n.progress?.etaMs ?? []);
    const eta = etas.length === 0 ? '' : `, about ${time(Math.max(...etas))} left`;
    const far =
      sum('total') === 0 ? '' : `: ${sum('done')} of about ${counted(sum('total'), 'object')}${eta}`;
    const what = nodes.length === 1 ? one : several;
    return [
      {
        rule,
        severity,
        text: `${listed(nodes.map(addressOf))} ${what}${far}.`,
        next: {
          command: 'dog cluster recover status',
          effect: 'Shows how far it is; nothing has to be done.',
        },
      },
    ];
  });

const stuck: Rule = ({ up, report }) =>
  up.flatMap((node): Finding[] => {
    const waiting = report(node.id)?.waiting;
    if (waiting === undefined || node.progress?.waiting === 'no-space' || node.progress?.waiting === 'paused')
      return [];
    return [
      {
        rule: 'recovery-waits',
        severity: 'risk',
        text: `${addressOf(node)} cannot take over some objects at present: ${waiting}.`,
        next: { command: 'dog cluster recover status', effect: 'Says who or what is waited for.' },
      },
    ];
  });

const silent: Rule = ({ state, up }) =>
  up.flatMap((node): Finding[] => {
    const report = state.reports[node.id];
    if (report === undefined || !('error' in report)) return [];
    return [
      {
        rule: 'node-silent',
        severity: 'risk',
        text: `${addressOf(node)} is a member and counts as up, but did not answer: ${report.error}.`,
        next: {
          command: `dog cluster info -a ${node.host} -p ${node.port}`,
          effect:
            'Tries again. If it stays silent, look at its log and at the network between here and there.',
        },
      },
    ];
  });

const aside: Rule = ({ nodes }) =>
  nodes
    .filter((n) => n.asideReason !== undefined)
    .map(
      (node): Finding => ({
        rule: 'node-aside',
        severity: 'risk',
        text: `${addressOf(node)} keeps out of the cluster, because not everybody reaches it: ${node.asideReason}.`,
        next: {
          command: 'repair the network between the sheep',
          effect: 'It comes back by itself when it reaches all others, and they reach it.',
        },
      }),
    );

const unreached: Rule = ({ situation, nameOf }) => {
  if (situation.unreached.length === 0) return [];
  const pairs = situation.unreached.map(([from, to]) => `${nameOf(from)} does not reach ${nameOf(to)}`);
  return [
    {
      rule: 'unreached',
      severity: 'risk',
      text: `Some sheep do not reach each other: ${listed(pairs)}.`,
      next: {
        command: 'repair the network between them',
        effect: 'Until then one of each pair keeps out of the cluster, so that I/O goes on.',
      },
    },
  ];
};

const versions: Rule = ({ up, report }) => {
  const byVersion = new Map<string, string[]>();
  for (const node of up) {
    const version = report(node.id)?.version;
    if (version !== undefined) byVersion.set(version, [...(byVersion.get(version) ?? []), addressOf(node)]);
  }
  if (byVersion.size < 2) return [];
  const texts = [...byVersion].map(([version, names]) => `${version} on ${listed(names)}`);
  return [
    {
      rule: 'versions',
      severity: 'note',
      text: `The sheep run different versions: ${texts.join('; ')}.`,
      next: {
        command: 'dog cluster upgrade',
        effect: 'Replaces one sheep after the other by the program on its disk; clients notice a pause.',
      },
    },
  ];
};

const clocks: Rule = ({ state, nameOf }) => {
  const sorted = Object.entries(state.clocksMs).sort(([, a], [, b]) => a - b);
  const [first, last] = [sorted[0], sorted.at(-1)];
  if (first === undefined || last === undefined || last[1] - first[1] < CLOCKS_APART_MS) return [];
  return [
    {
      rule: 'clocks',
      severity: 'note',
      text:
        `The clock of ${nameOf(last[0])} is ${time(last[1] - first[1])} ahead of that of ${nameOf(first[0])}. ` +
        'Nothing depends on it but times that people read.',
      next: {
        command: 'let NTP or chrony set the clocks of all machines',
        effect: 'Times in lists and logs agree.',
      },
    },
  ];
};

const leases: Rule = ({ up, report }) => {
  const short = up.filter((n) => (report(n.id)?.leaseTtlMs ?? LEASE_SHORT_MS) < LEASE_SHORT_MS);
  if (short.length === 0) return [];
  return [
    {
      rule: 'lease-short',
      severity: 'note',
      text:
        `The ${short.length === 1 ? 'lease' : 'leases'} of ${listed(short.map(addressOf))} ${isAre(short.length)} ` +
        'short: a machine that is busy for a moment counts as dead.',
      next: { command: 'start these sheep with a longer lease', effect: 'Five seconds are usual.' },
    },
  ];
};

const startedAnew: Rule = ({ nodes }) =>
  nodes.flatMap((node): Finding[] => {
    const { startedWith } = node;
    if (startedWith === undefined) return [];
    const name = addressOf(node);
    const parts = [
      startedWith.vnodes !== node.vnodes && `weight ${startedWith.vnodes} (${node.vnodes} counts)`,
      startedWith.zone !== node.zone && `zone ${startedWith.zone} (${node.zone} counts)`,
    ].filter((part) => part !== false);
    return [
      {
        rule: 'started-with',
        severity: 'note',
        text: `${name} was started with ${parts.join(' and ')}: what it joined with stays until somebody changes it.`,
        ...(startedWith.vnodes !== node.vnodes && {
          next: {
            command: `dog node weight ${name} ${startedWith.vnodes} --dry-run`,
            effect: 'Says what would move if the new weight counted; without --dry-run it does.',
          },
        }),
      },
    ];
  });

export const nodeRules: readonly Rule[] = [
  down,
  silent,
  aside,
  unreached,
  recovers,
  stuck,
  maintenance,
  out,
  versions,
  clocks,
  leases,
  startedAnew,
];
