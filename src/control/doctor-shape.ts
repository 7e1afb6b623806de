/** Rules about the shape of the cluster: machines, zones, the coordinator, settings. */
import { addressOf, type Rule } from './doctor.js';
import type { DoctorNode, Finding } from './doctor-api.js';
import { counted, listed, time } from './doctor-words.js';

function groups(nodes: readonly DoctorNode[], keyOf: (node: DoctorNode) => string | number): DoctorNode[][] {
  const found = new Map<string | number, DoctorNode[]>();
  for (const node of nodes) found.set(keyOf(node), [...(found.get(keyOf(node)) ?? []), node]);
  return [...found.values()];
}

const recoveryPaused: Rule = ({ situation, recovers }) => {
  if (!situation.recoveryPaused) return [];
  return [
    {
      rule: 'recovery-paused',
      severity: recovers ? 'risk' : 'note',
      text: recovers
        ? 'Recovery is paused, and there is something to recover: copies that are missing stay missing.'
        : 'Recovery is paused: should a sheep fail, nothing is copied in its place.',
      next: { command: 'dog cluster recover enable', effect: 'Lets it go on, at a pace that clients bear.' },
    },
  ];
};

const neverGivenUp: Rule = ({ situation, holders }) => {
  if (situation.downOutMs > 0 || holders.length <= situation.cluster.copies) return [];
  return [
    {
      rule: 'never-given-up',
      severity: 'note',
      text: 'A sheep that stays down is never given up by itself: its copies stay missing until somebody acts.',
      next: {
        command: 'dog cluster settings --down-out 10m',
        effect: 'What lay on a sheep that has been down for ten minutes is placed on others.',
      },
    },
  ];
};

const fewHolders: Rule = ({ situation, holders, formatted }) => {
  const wanted = Math.max(0, ...situation.volumes.map((v) => v.copies), situation.cluster.copies);
  const inUse = holders.filter((n) => n.in).length;
  if (!formatted || inUse === 0 || inUse >= wanted) return [];
  return [
    {
      rule: 'few-holders',
      severity: 'risk',
      text:
        `Volumes are to have ${counted(wanted, 'copy', 'copies')}, and ` +
        `${counted(inUse, 'sheep holds', 'sheep hold')} objects.`,
      next: {
        command: 'start another sheep',
        effect: 'It becomes a member by itself, and is given its part while volumes are in use.',
      },
      otherwise: {
        command: 'dog node list',
        effect: "Shows who is out; 'dog node in NODE' brings one back.",
      },
    },
  ];
};

const oneMachine: Rule = ({ holders }) => {
  const inUse = holders.filter((n) => n.in && n.hostId !== '');
  if (inUse.length < 2 || groups(inUse, (n) => n.hostId).length > 1) return [];
  return [
    {
      rule: 'one-machine',
      severity: 'note',
      text: `All ${inUse.length} sheep run on one machine: its power, its memory and often its disk are shared.`,
      next: {
        command: 'dog cluster move-coordinator --help',
        effect: 'Several machines need etcd as their coordinator; then others join with one line.',
      },
    },
  ];
};

const fewZones: Rule = ({ holders, situation }) => {
  const inUse = holders.filter((n) => n.in);
  const zones = groups(inUse, (n) => n.zone);
  const { copies } = situation.cluster;
  const machines = groups(inUse, (n) => n.hostId).length;
  if (inUse.length < copies || zones.length >= copies || machines < 2) return [];
  const text =
    zones.length === 1
      ? `All sheep are in one zone: what fails together is not known, so copies may lie on one machine.`
      : `Volumes have ${copies} copies and there are ${zones.length} zones: some have two copies in one zone.`;
  return [
    {
      rule: 'few-zones',
      severity: zones.length === 1 ? 'risk' : 'note',
      text,
      next: {
        command: 'start a sheep in another zone (sheep --zone N)',
        effect: 'Copies are placed in different zones as long as there are enough.',
      },
    },
  ];
};

const heavyZone: Rule = ({ holders, situation }) => {
  const inUse = holders.filter((n) => n.in);
  const zones = groups(inUse, (n) => n.zone);
  const { copies } = situation.cluster;
  if (zones.length < 3 || zones.length <= copies) return [];
  const weightOf = (nodes: readonly DoctorNode[]) => nodes.reduce((sum, n) => sum + n.vnodes, 0);
  const all = weightOf(inUse);
  return zones
    .filter((zone) => weightOf(zone) > all / 2)
    .map(
      (zone): Finding => ({
        rule: 'heavy-zone',
        severity: 'note',
        text:
          `Zone ${zone[0]!.zone} has more than half of the weight (${listed(zone.map(addressOf))}): should it fail, ` +
          'nothing is placed elsewhere by itself.',
      }),
    );
};

const localCoordinator: Rule = ({ situation, nodes }) => {
  const machines = groups(
    nodes.filter((n) => n.hostId !== ''),
    (n) => n.hostId,
  ).length;
  if (situation.cluster.coordinator?.driver !== 'local' || machines < 2) return [];
  return [
    {
      rule: 'local-coordinator',
      severity: 'risk',
      text: `The sheep run on ${machines} machines, but their coordinator is the embedded one, which is made for one.`,
      next: {
        command: 'dog cluster move-coordinator --help',
        effect: 'Says how to move to etcd with one command; no data is copied.',
      },
    },
  ];
};

const minCopies: Rule = ({ situation, formatted }) => {
  const { copies, minCopies: needed } = situation.cluster;
  if (!formatted || copies < 3 || needed > 1) return [];
  return [
    {
      rule: 'min-copies',
      severity: 'note',
      text:
        `Writes are acknowledged with one copy in sync, although volumes have ${copies}: ` +
        'that copy may be lost next.',
    },
  ];
};

const scrubStopped: Rule = ({ situation }) => {
  if (situation.scrub?.stopped !== true) return [];
  return [
    {
      rule: 'scrub-stopped',
      severity: 'note',
      text: 'The background check of all replicas is stopped: damage on disks is noticed only when it is read.',
      next: { command: 'dog cluster scrub start', effect: 'Begins a pass now, and then one each period.' },
    },
  ];
};

const moving: Rule = ({ situation, nodes }) => {
  if (situation.move === undefined) return [];
  const etas = nodes.flatMap((n) => n.progress?.etaMs ?? []);
  const left = etas.length === 0 ? '' : `, about ${time(Math.max(...etas))} left`;
  return [
    {
      rule: 'move',
      severity: 'note',
      text: `Objects are being moved to where they shall lie${left}. Volumes are in use as always.`,
      next: { command: 'dog cluster recover status', effect: 'Shows how far it is, and what it waits for.' },
    },
  ];
};

export const shapeRules: readonly Rule[] = [
  recoveryPaused,
  fewHolders,
  localCoordinator,
  fewZones,
  moving,
  oneMachine,
  heavyZone,
  neverGivenUp,
  minCopies,
  scrubStopped,
];
