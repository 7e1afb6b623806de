/** Rules about room: who is full, what would fit where, and whether the load is even. */
import { addressOf, type Facts, type Rule } from './doctor.js';
import type { DoctorNode, Finding } from './doctor-api.js';
import { listed, size } from './doctor-words.js';

const MIB = 2 ** 20;
const GIB = 2 ** 30;
/** Less than this of a disk free is worth a word. */
const NEARLY_FULL = 0.1;
/** Where a sheep did not say what it keeps free. */
const RESERVE_BYTES = 64 * MIB;
/** A sheep with so much more than its part by weight; small clusters are uneven by chance. */
const UNEVEN = 1.25;
const UNEVEN_BYTES_MIN = 4 * GIB;

function hasFigures(node: DoctorNode): boolean {
  return node.storeBytes > 0;
}

/** Bytes that recovery may still put on it. */
function room(facts: Facts, node: DoctorNode): number {
  const reserve = facts.report(node.id)?.recoveryReserveBytes ?? RESERVE_BYTES;
  return Math.max(0, node.freeBytes - reserve);
}

const makeRoom = {
  command: 'dog vdi list',
  effect:
    "Shows what takes room: 'dog vdi delete' frees it at once. Or add a sheep: it is given objects by itself.",
};

const full: Rule = (facts) =>
  facts.holders.filter(hasFigures).flatMap((node): Finding[] => {
    const reserve = facts.report(node.id)?.reserveBytes ?? RESERVE_BYTES;
    const name = addressOf(node);
    const free = `${size(node.freeBytes)} of ${size(node.storeBytes)} free`;
    if (node.freeBytes <= reserve * 1.05) {
      const text = `${name} is full (${free}): new data that belongs there is refused. What is there is served.`;
      return [{ rule: 'full', severity: 'bad', text, next: makeRoom }];
    }
    if (node.freeBytes > NEARLY_FULL * node.storeBytes) return [];
    return [
      {
        rule: 'nearly-full',
        severity: 'risk',
        text: `${name} is nearly full (${free}).`,
        next: makeRoom,
        otherwise: {
          command: `dog node weight ${name} ${Math.max(1, Math.floor(node.vnodes * 0.8))} --dry-run`,
          effect: 'If others have more room: says what a smaller weight would move to them.',
        },
      },
    ];
  });

const noRoomToTake: Rule = ({ up, report }) =>
  up
    .filter((node) => node.progress?.waiting === 'no-space')
    .map((node): Finding => {
      const why = report(node.id)?.waiting;
      return {
        rule: 'recovery-no-space',
        severity: 'risk',
        text: `${addressOf(node)} has no room for what it is to take over${why === undefined ? '' : ` (${why})`}.`,
        next: makeRoom,
        otherwise: {
          command: `dog node weight ${addressOf(node)} ${Math.max(1, Math.floor(node.vnodes / 2))}`,
          effect: 'It is given half as much; the others take the rest.',
        },
      };
    });

/** Whether the others have room for what lies on the fullest sheep, should it be lost. */
const lossFits: Rule = (facts) => {
  const { holders, situation } = facts;
  const nodes = holders.filter((n) => n.up && n.in && hasFigures(n));
  const copies = Math.max(situation.cluster.copies, ...situation.volumes.map((v) => v.copies));
  // With no sheep to spare its objects would not be placed elsewhere anyway.
  if (nodes.length <= copies || situation.move !== undefined) return [];
  const fullest = nodes.reduce((a, b) => (b.usedBytes > a.usedBytes ? b : a));
  const others = nodes.filter((n) => n !== fullest);
  const weight = others.reduce((sum, n) => sum + n.vnodes, 0);
  const tight = others.filter((n) => (fullest.usedBytes * n.vnodes) / weight > room(facts, n));
  if (tight.length === 0) return [];
  return [
    {
      rule: 'loss-does-not-fit',
      severity: 'risk',
      text:
        `Should ${addressOf(fullest)} be lost, its ${size(fullest.usedBytes)} would not fit on the others: ` +
        `${listed(tight.map(addressOf))} would be full, and copies would stay missing.`,
      next: makeRoom,
    },
  ];
};

const uneven: Rule = ({ holders, situation }) => {
  const nodes = holders.filter(
    (n) => n.up && n.in && hasFigures(n) && !n.moving && !n.behind && !n.incomplete,
  );
  const used = nodes.reduce((sum, n) => sum + n.usedBytes, 0);
  const weight = nodes.reduce((sum, n) => sum + n.vnodes, 0);
  if (situation.move !== undefined || nodes.length < 3 || used < UNEVEN_BYTES_MIN * nodes.length) return [];
  return nodes
    .filter((n) => n.usedBytes > UNEVEN * ((used * n.vnodes) / weight))
    .map((node): Finding => {
      const part = (used * node.vnodes) / weight;
      const better = Math.max(1, Math.round((node.vnodes * part) / node.usedBytes));
      return {
        rule: 'uneven',
        severity: 'note',
        text: `${addressOf(node)} has ${size(node.usedBytes)}, its part by weight is ${size(part)}.`,
        next: {
          command: `dog node weight ${addressOf(node)} ${better} --dry-run`,
          effect: 'Says what a smaller weight would move to others.',
        },
      };
    });
};

const noRoomAtAll: Rule = ({ holders, formatted }) => {
  if (!formatted || holders.some((n) => n.in)) return [];
  return [
    {
      rule: 'no-holders',
      severity: 'bad',
      text: 'No sheep holds objects: all are gateways, or out.',
      next: { command: 'dog node list', effect: "Shows them; 'dog node in NODE' gives one objects." },
    },
  ];
};

export const spaceRules: readonly Rule[] = [noRoomAtAll, full, noRoomToTake, lossFits, uneven];
