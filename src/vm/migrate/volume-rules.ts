import type { Finding } from '../../control/doctor-api.js';
import { listed } from '../../control/doctor-words.js';
import { knowsReconnect } from '../disk-xml.js';
import type { NbdDisk } from '../domain-xml.js';
import { arrivals } from './arrival.js';
import { isKnown, isSilent, type MovingDisk, type MovingDomain, type VolumeFacts } from './facts.js';
import type { Rule } from './rule.js';

/** Rules about volumes, their cluster, and the sheep of the destination. */

interface VolumeDisk extends MovingDisk {
  readonly nbd: NbdDisk;
}

function volumeDisks({ disks }: MovingDomain): VolumeDisk[] {
  return disks.flatMap((disk) =>
    disk.content.kind === 'volume' ? [{ ...disk, nbd: disk.content.nbd }] : [],
  );
}

const clusterSilent: Rule = ({ cluster }) =>
  cluster !== undefined && isSilent(cluster)
    ? [
        {
          rule: 'cluster-silent',
          severity: 'bad',
          text: `The cluster of its volumes does not answer: ${cluster.error}.`,
          next: { command: 'dog doctor', effect: 'Says which sheep to start, or which one to ask (-a, -p).' },
        },
      ]
    : [];

const clusterSick: Rule = ({ cluster }) =>
  cluster === undefined || isSilent(cluster) || cluster.blocking.length === 0
    ? []
    : [
        {
          rule: 'cluster-waits',
          severity: 'bad',
          text: `Some requests of guests wait at present: ${cluster.blocking.join(' ')}`,
          next: { command: 'dog doctor', effect: 'Says what to do first.' },
        },
      ];

const sheepSilent: Rule = ({ arrival, uri }) =>
  arrival !== undefined && isSilent(arrival)
    ? [
        {
          rule: 'sheep-silent',
          severity: 'bad',
          text: `The sheep of the destination does not answer: ${arrival.error}.`,
          next: {
            command: `dog vm migrate ... '${uri}' --to-sheep HOST:PORT`,
            effect: 'Asks another one; or start it there.',
          },
        },
      ]
    : [];

/** Two clusters may have volumes of one name: the guest would go on with another disk. */
const otherCluster: Rule = ({ arrival, cluster }) => {
  if (!isKnown(arrival) || cluster === undefined || isSilent(cluster)) return [];
  if (arrival.clusterId === cluster.clusterId) return [];
  const at = `${arrival.host}:${arrival.port}`;
  return [
    {
      rule: 'other-cluster',
      severity: 'bad',
      text: `The sheep at ${at} is of another cluster (${arrival.clusterId}) than the volumes (${cluster.clusterId}).`,
      next: {
        command: `dog cluster info -a ${arrival.host} -p ${arrival.port}`,
        effect: "Shows its members. A sheep joins this cluster with 'dog cluster join'.",
      },
    },
  ];
};

const sheepSick: Rule = ({ arrival, cluster }) => {
  if (!isKnown(arrival) || arrival.blocking.length === 0) return [];
  // The same is told of the cluster already.
  if (cluster !== undefined && !isSilent(cluster) && cluster.blocking.length > 0) return [];
  return [
    {
      rule: 'sheep-waits',
      severity: 'bad',
      text: `The sheep at ${arrival.host}:${arrival.port} could not serve all: ${arrival.blocking.join(' ')}`,
      next: {
        command: `dog doctor -a ${arrival.host} -p ${arrival.port}`,
        effect: 'Says what to do first.',
      },
    },
  ];
};

const sheepUnknown: Rule = (facts) => {
  const { arrival, uri } = facts;
  if (arrival === undefined || isSilent(arrival) || isKnown(arrival)) return [];
  const unsure = [...arrivals(facts)].filter(([, { kind }]) => kind === 'unsure').map(([target]) => target);
  if (unsure.length === 0) return [];
  const which =
    arrival.candidates.length === 0
      ? 'No sheep of the cluster has the address of the destination'
      : `Several sheep have the address of the destination (${listed(arrival.candidates)})`;
  const text =
    `${which}, so that it cannot be told whether ${listed(unsure)} will be found there: it is, with the hook ` +
    "('dog vm hooks install' there), or with a sheep of this cluster behind the same address.";
  const command = `dog vm migrate ... '${uri}' --to-sheep HOST:PORT`;
  const effect = "Names the sheep of the destination's host, and all of it is checked.";
  return [{ rule: 'sheep-unknown', severity: 'risk', text, next: { command, effect } }];
};

const arrivalRefused: Rule = (facts) =>
  [...arrivals(facts)].flatMap(([target, arrival]): Finding[] => {
    if (arrival.kind === 'refused') {
      return [{ rule: arrival.reason, severity: 'bad', text: `${target}: ${refusalTexts[arrival.reason]}.` }];
    }
    if (arrival.kind !== 'unsure' || !isKnown(facts.arrival)) return [];
    const text =
      `${target} points to what no sheep tells as its door: whether the volume is found by that at the ` +
      'destination cannot be told from here.';
    const next = {
      command: 'dog vm hooks install',
      effect: "At the destination: has libvirt point the disk to that host's sheep.",
    };
    return [{ rule: 'place-unknown', severity: 'risk', text, next }];
  });

const refusalTexts = {
  'no-door': "the sheep of the destination has no NBD door ('sheep --nbd-socket')",
  'tls-wanted': 'the sheep of the destination wants TLS, which the disk does not use',
  'tls-unknown': 'the disk uses TLS, which the sheep of the destination does not offer',
} as const;

const volume: Rule = ({ domain, volumes }) =>
  volumeDisks(domain).flatMap((disk): Finding[] => {
    const facts = volumes[disk.target];
    if (facts === undefined) return [];
    const name = `Volume ${disk.nbd.exportName} (${disk.target})`;
    if (isSilent(facts)) {
      const next = { command: `dog vdi list ${disk.nbd.exportName}`, effect: 'Shows what there is.' };
      const text = `${name} cannot be asked for: ${facts.error}.`;
      return [{ rule: 'volume-silent', severity: 'bad', text, next }];
    }
    return [...volumeMissing(name, facts), ...volumeUsed(name, disk, facts)];
  });

function volumeMissing(name: string, { missing }: VolumeFacts): Finding[] {
  if (missing === undefined) return [];
  const text = `${name} is not to be had from the sheep of the destination: ${missing}.`;
  const next = { command: 'dog doctor', effect: 'Says whether something is wrong with the cluster.' };
  return [{ rule: 'volume-missing', severity: 'bad', text, next }];
}

/** The guest itself is one; a volume that it can write has no other. */
function volumeUsed(name: string, disk: VolumeDisk, { users, locks }: VolumeFacts): Finding[] {
  if (!disk.writable || disk.shareable) return [];
  if (users <= 1 && locks.length === 0) return [];
  const others = Math.max(0, users - 1);
  const parts = [
    ...(others > 0 ? [`${others} more by NBD`] : []),
    ...(locks.length > 0 ? [`${listed(locks)} by the sheepdog protocol`] : []),
  ];
  const text = `${name} is in use by others beside the guest: ${parts.join(', ')}.`;
  const next = {
    command: 'dog vdi lock list',
    effect: 'Shows clients of the sheepdog protocol. End the others, or mark the disk <shareable/>.',
  };
  return [{ rule: 'volume-in-use', severity: 'bad', text, next }];
}

/** libvirt before 9.2 forgets on the way that QEMU shall wait. */
const impatient: Rule = ({ domain, destination, uri }) => {
  if (isSilent(destination) || knowsReconnect(destination.libvirt)) return [];
  const targets = volumeDisks(domain).map(({ target }) => target);
  if (targets.length === 0) return [];
  const text =
    `libvirt at the destination is older than 9.2 and cannot make ${listed(targets)} wait for a sheep that is ` +
    "away; the hook can ('dog vm hooks install' there), and so can you.";
  const command = `dog vm reconnect ${domain.name} -c '${uri}'`;
  const effect = 'After the move.';
  return [{ rule: 'does-not-wait', severity: 'note', text, next: { command, effect } }];
};

export const volumeRules: readonly Rule[] = [
  clusterSilent,
  clusterSick,
  sheepSilent,
  otherCluster,
  sheepSick,
  sheepUnknown,
  arrivalRefused,
  volume,
  impatient,
];
