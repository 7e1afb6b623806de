/** Rules about data: what cannot be used, what waits, what hangs on one copy. */
import type { Facts, Rule } from './doctor.js';
import type { DoctorSets, Finding } from './doctor-api.js';
import { counted, isAre, listed } from './doctor-words.js';

const notFormatted: Rule = ({ formatted, situation, up }) => {
  if (formatted || situation.cluster.status === 'shutdown') return [];
  const copies = Math.min(3, Math.max(1, up.length));
  return [
    {
      rule: 'not-formatted',
      severity: 'bad',
      text: `The cluster is not formatted yet; ${counted(up.length, 'sheep', 'sheep')} ${isAre(up.length)} ready.`,
      next: {
        command: `dog cluster format -c ${copies}`,
        effect: `Volumes can be made then; each block is kept ${copies === 1 ? 'once' : `${copies} times`}.`,
      },
    },
  ];
};

const shuttingDown: Rule = ({ situation }) => {
  if (situation.cluster.status !== 'shutdown') return [];
  return [
    {
      rule: 'shutdown',
      severity: 'bad',
      text: 'The cluster is being shut down, because somebody asked for it.',
      next: { command: 'dog cluster up', effect: 'Starts it again, when all sheep have stopped.' },
    },
  ];
};

/** "Volumes with 3 copies (a, b and 2 more)". */
function concerned({ situation }: Facts, { copies }: DoctorSets): string {
  const inUse = situation.volumes.filter((v) => v.copies === copies || v.copies > copies);
  const names = inUse.flatMap((v) => v.names);
  const count = inUse.reduce((sum, v) => sum + v.count, 0);
  return count === 0
    ? ''
    : ` ${count === 1 ? 'The volume' : 'Volumes that may be'} concerned: ${listed(names, count)}.`;
}

const awaited: Rule = (facts) =>
  facts.situation.sets.flatMap((sets): Finding[] => {
    const waiting = [...new Set(sets.awaited.flat())].map((id) => facts.nameOf(id)).sort();
    if (waiting.length === 0) return [];
    const { length } = waiting;
    const one = waiting[0]!;
    return [
      {
        rule: 'data-awaited',
        severity: 'bad',
        text:
          `Some objects wait: their newest content is on ${listed(waiting)}, which ${isAre(length)} down.` +
          `${concerned(facts, sets)} Nothing is lost, and nothing older is shown.`,
        next: {
          command: `start the sheep ${listed(waiting)}`,
          effect: 'Their objects are served as soon as one of them is up that has the newest content.',
        },
        otherwise: {
          command: `dog node lost ${one}`,
          effect: `Only if its data is gone for good: shows first which volumes lose what, and asks.`,
        },
      },
    ];
  });

const lost: Rule = (facts) =>
  facts.situation.sets.flatMap((sets): Finding[] => {
    if (!sets.awaited.some((ids) => ids.length === 0)) return [];
    return [
      {
        rule: 'data-lost',
        severity: 'bad',
        text: `The newest content of some objects is lost with the sheep that had it.${concerned(facts, sets)}`,
        next: {
          command: 'dog cluster accept-loss',
          effect: 'Says which volumes lose what, asks, and goes on with the newest content that is left.',
        },
      },
    ];
  });

const writesWait: Rule = (facts) =>
  facts.situation.sets.flatMap((sets): Finding[] => {
    if (sets.blocked === undefined) return [];
    const { have, needed } = sets.blocked;
    const down = facts.holders.filter((n) => n.in && !n.up).map((n) => facts.nameOf(n.id));
    return [
      {
        rule: 'writes-wait',
        severity: 'bad',
        text:
          `Writes to some objects wait: they need ${counted(needed, 'copy', 'copies')} up and in sync and have ` +
          `${have}. Reads go on.${concerned(facts, sets)}`,
        next:
          down.length > 0
            ? { command: `start the sheep ${listed(down)}`, effect: 'Writes go on as soon as it is in sync.' }
            : {
                command: 'dog cluster recover status',
                effect: 'Shows how long until enough copies are in sync.',
              },
      },
    ];
  });

const lastCopy: Rule = (facts) =>
  facts.situation.sets.flatMap((sets): Finding[] => {
    if (sets.alone.length === 0 || sets.copies < 2) return [];
    const names = sets.alone.map((id) => facts.nameOf(id));
    const down = facts.holders.filter((n) => n.in && !n.up).map((n) => facts.nameOf(n.id));
    return [
      {
        rule: 'last-copy',
        severity: 'risk',
        text:
          `Some objects that should have ${sets.copies} copies have one that is up and in sync, on ` +
          `${listed(names)}. Should it fail too, they cannot be used.`,
        next: facts.nodes.some((n) => n.up && (n.behind || n.incomplete || n.moving))
          ? { command: 'dog cluster recover status', effect: 'Shows how long until there are more copies.' }
          : {
              command: down.length > 0 ? `start the sheep ${listed(down)}` : 'dog cluster recover status',
              effect: 'A sheep that comes back takes over what it missed, and counts when that is done.',
            },
      },
    ];
  });

const unrepairable: Rule = ({ situation }) => {
  const { scrub } = situation;
  if (scrub === undefined || scrub.unrepairable === 0) return [];
  const names = [...new Set(scrub.places.map((place) => place.name))];
  const where = names.length === 0 ? '' : ` They belong to ${listed(names)}.`;
  return [
    {
      rule: 'unrepairable',
      severity: 'bad',
      text:
        `${counted(scrub.unrepairable, 'object')} ${isAre(scrub.unrepairable)} damaged on every sheep that has ` +
        `${scrub.unrepairable === 1 ? 'it' : 'them'}: reads of the damaged blocks fail.${where}`,
      next: {
        command: 'dog cluster scrub status',
        effect: 'Lists where the blocks lie. They are right again when they are written over, from a backup.',
      },
    },
  ];
};

const fewCopies: Rule = ({ situation, formatted }) => {
  const single = situation.volumes.find((v) => v.copies === 1);
  if (!formatted || single === undefined || single.count === 0) return [];
  const [name] = single.names;
  return [
    {
      rule: 'single-copy',
      severity: 'risk',
      text:
        `${listed(single.names, single.count)} ${isAre(single.count)} kept once: ` +
        'any disk that fails takes data along.',
      next: {
        command: `dog vdi alter-copy -c 2 ${name}`,
        effect:
          'A second copy is made while the volume is in use. It needs a second sheep, and as much room again.',
      },
    },
  ];
};

const unfinished: Rule = ({ situation }) => {
  if (situation.unfinished.length === 0) return [];
  return [
    {
      rule: 'unfinished',
      severity: 'note',
      text:
        `Of ${listed(situation.unfinished)} something was begun or deleted more than an hour ago and is not done. ` +
        'It is tidied up when all sheep are up; it takes room, and does no harm.',
    },
  ];
};

export const dataRules: readonly Rule[] = [
  notFormatted,
  shuttingDown,
  lost,
  awaited,
  writesWait,
  unrepairable,
  lastCopy,
  fewCopies,
  unfinished,
];
