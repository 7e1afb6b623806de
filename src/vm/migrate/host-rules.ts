import type { Finding } from '../../control/doctor-api.js';
import { listed, size } from '../../control/doctor-words.js';
import { type Version, versionText } from '../virsh.js';
import { type Destination, isSilent } from './facts.js';
import { type DestinationRule, ofDestination, type Rule } from './rule.js';

/** Rules about the two hypervisors, and whether such a machine can run on the other one. */

const silent: Rule = ({ uri, destination }) =>
  isSilent(destination)
    ? [
        {
          rule: 'destination-silent',
          severity: 'bad',
          text: `The hypervisor at ${uri} does not answer: ${destination.error}.`,
          next: {
            command: `virsh -c '${uri}' version`,
            effect: 'Shows the same trouble; when this works, so does the migration.',
          },
        },
      ]
    : [];

const notRunning: Rule = ({ domain }) =>
  domain.state === 'running' || domain.state === 'paused'
    ? []
    : [
        {
          rule: 'not-running',
          severity: 'bad',
          text: `${domain.name} does not run: it is ${domain.state}.`,
          next: { command: `virsh start ${domain.name}`, effect: 'Only what runs can move live.' },
        },
      ];

const busy: Rule = ({ domain }) =>
  domain.busy
    ? [
        {
          rule: 'busy',
          severity: 'bad',
          text: `libvirt is busy with ${domain.name}: a migration, a backup or a dump is under way.`,
          next: { command: `virsh domjobinfo ${domain.name}`, effect: 'Tells which, and how far it is.' },
        },
      ]
    : [];

const hostBound: Rule = ({ domain }) =>
  domain.hostBound.length > 0
    ? [
        {
          rule: 'host-bound',
          severity: 'bad',
          text: `${domain.name} uses ${listed(domain.hostBound)} of its host, which cannot come along.`,
          next: {
            command: `virsh detach-device ${domain.name} device.xml --live`,
            effect: 'Takes it away for the time of the migration.',
          },
        },
      ]
    : [];

const sameHost: DestinationRule = ({ source, uri }, destination) =>
  source.hostUuid !== undefined && source.hostUuid === destination.hostUuid
    ? [
        {
          rule: 'same-host',
          severity: 'bad',
          text: `${uri} is the host where it runs now (${destination.hostname}), or has the same UUID.`,
          next: {
            command: `virsh -c '${uri}' capabilities`,
            effect:
              "Shows the UUID. If these are two hosts, give each its own: 'host_uuid' in libvirtd.conf.",
          },
        },
      ]
    : [];

const nameTaken: DestinationRule = ({ domain, uri }, { namesake }) => {
  if (namesake === undefined) return [];
  const shutOff = namesake.state === 'shut off';
  if (shutOff && namesake.uuid === domain.uuid) return [];
  const what = namesake.uuid === domain.uuid ? 'The same domain' : 'Another domain of that name';
  return [
    {
      rule: 'name-taken',
      severity: 'bad',
      text: `${what} is at the destination already (${namesake.state}).`,
      next: {
        command: `virsh -c '${uri}' dominfo ${domain.name}`,
        effect: 'Shows it. Make sure that nobody needs it before you end or rename it.',
      },
    },
  ];
};

const machine: DestinationRule = ({ domain, uri }, { machineRefusal }) =>
  machineRefusal === undefined
    ? []
    : [
        {
          rule: 'machine-unknown',
          severity: 'bad',
          text: `A machine like ${domain.name} (${domain.type}, ${domain.machine}) cannot be there: ${machineRefusal}.`,
          next: {
            command: `virsh -c '${uri}' capabilities`,
            effect: `Lists what it can be. A QEMU that is as new, at the same path, knows ${domain.machine}.`,
          },
        },
      ];

const older: DestinationRule = ({ source }, destination) => {
  const lines: [string, Version | undefined, Version | undefined][] = [
    ['libvirt', source.libvirt, destination.libvirt],
    ['QEMU', source.qemu, destination.qemu],
  ];
  return lines.flatMap(([name, here, there]): Finding[] => {
    if (here === undefined || there === undefined || compare(there, here) >= 0) return [];
    return [
      {
        rule: `${name.toLowerCase()}-older`,
        severity: 'risk',
        text:
          `${name} is older there (${versionText(there)}) than here (${versionText(here)}): nobody promises that ` +
          'this works. What it does not know it refuses, and the guest stays.',
      },
    ];
  });
};

/** What a hypervisor says against a guest that runs on one just like it is not about the destination. */
const cpu: DestinationRule = ({ domain, source, uri }, { lacksOfCpu }) => {
  if (lacksOfCpu === undefined || lacksOfCpu === source.lacksOfCpu) return [];
  return [
    {
      rule: 'cpu-lacking',
      severity: 'bad',
      text: `The processor of ${domain.name} has what the destination cannot give: ${lacksOfCpu}.`,
      next: {
        command: `virsh -c '${uri}' hypervisor-cpu-baseline FILE`,
        effect:
          'Given a file with the processors of both hosts it prints one that both have: put that into ' +
          `${domain.name} ('virsh edit') and start it anew.`,
      },
    },
  ];
};

/** Processors that are what their host is: nothing in the definition says what the guest has found. */
const hostCpu: DestinationRule = ({ domain, source }, destination) => {
  const { cpuMode } = domain;
  const differs =
    (cpuMode === 'host-passthrough' && source.processor !== destination.processor) ||
    (cpuMode === 'maximum' && !sameVersion(source.qemu, destination.qemu));
  if (!differs) return [];
  const things = cpuMode === 'maximum' ? 'the QEMUs' : 'the processors';
  return [
    {
      rule: 'cpu-of-host',
      severity: 'risk',
      text:
        `${domain.name} has the processor of its host (${cpuMode}), and ${things} of the two hosts differ: ` +
        'it may crash when it arrives.',
      next: {
        command: `virsh edit ${domain.name}`,
        effect: "With <cpu mode='host-model'/>, and started anew, what is missing is found out before.",
      },
    },
  ];
};

const networks: DestinationRule = ({ domain, uri }, there) =>
  domain.networks
    .filter((name) => there.networks?.includes(name) !== true)
    .map((name) => ({
      rule: 'network-missing',
      severity: 'bad',
      text: `${domain.name} is on the network ${name}, which is not active at the destination.`,
      next: { command: `virsh -c '${uri}' net-start ${name}`, effect: 'Starts it, if it is defined there.' },
    }));

const memory: DestinationRule = ({ domain }, { freeMemoryBytes }) =>
  freeMemoryBytes !== undefined && freeMemoryBytes < domain.memoryBytes
    ? [
        {
          rule: 'memory-short',
          severity: 'risk',
          text:
            `${domain.name} has ${size(domain.memoryBytes)} of memory, and ` +
            `${size(freeMemoryBytes)} are free there.`,
        },
      ]
    : [];

export const hostRules: readonly Rule[] = [
  silent,
  notRunning,
  busy,
  hostBound,
  ...[sameHost, nameTaken, machine, older, cpu, hostCpu, networks, memory].map(ofDestination),
];

/** Negative: `a` is older. */
function compare(a: Version, b: Version): number {
  return a.major - b.major || a.minor - b.minor || a.patch - b.patch;
}

function sameVersion(a: Version | undefined, b: Destination['qemu']): boolean {
  return a !== undefined && b !== undefined && compare(a, b) === 0;
}
