/**
 * Ceph RBD, as Debian packages it: one monitor, one manager, three OSDs on files, nothing on any other address than
 * loopback. Everything that is not said here is Ceph's default.
 */
import { randomUUID } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { freePorts } from '../../helpers/real-cluster.js';
import { fioEngines, runClient } from '../clients.js';
import { type Clones, type Target, VOLUME, type Volumes } from '../targets.js';
import { type PeerDaemons, withDaemons } from './daemons.js';

const OSDS = 3;
const PLACEMENT_GROUPS = 32;
const POOL = 'bench';
const START_DEADLINE_MS = 90_000;
const COMMAND_DEADLINE_MS = 600_000;
const MIB = 2 ** 20;
/** An OSD takes no less gladly; the file is sparse. */
const STORE_BYTES_MIN = 20 * 1024 * MIB;
/** Room of an OSD for each byte of the volume: snapshots of all rounds, and what BlueStore needs to move about in. */
const STORE_PER_BYTE = 8;

export const cephTools = ['monmaptool', 'ceph-mon', 'ceph-mgr', 'ceph-osd', 'ceph', 'rbd'];

export function startCeph(sizeBytes: number): Promise<Target> {
  return withDaemons((daemons) => startIn(daemons, sizeBytes));
}

async function startIn(daemons: PeerDaemons, sizeBytes: number): Promise<Target> {
  const config = daemons.path('ceph.conf');
  const ceph = (...words: string[]) => runClient('ceph', ['-c', config, ...words]);
  const rbd = (...words: string[]) => runClient('rbd', ['-c', config, ...words]);
  const monitor = await startMonitor(daemons, config, sizeBytes);
  const manager = daemons.start('mgr', 'ceph-mgr', ['-c', config, '-i', 'a', '-f']);
  const osds: number[] = [];
  for (let id = 0; id < OSDS; id++) {
    const uuid = randomUUID();
    await ceph('osd', 'new', uuid);
    await runClient('ceph-osd', ['-c', config, '-i', `${id}`, '--mkfs', '--osd-uuid', uuid]);
    osds.push(daemons.start(`osd${id}`, 'ceph-osd', ['-c', config, '-i', `${id}`, '-f']));
  }
  await daemons.ready(START_DEADLINE_MS, 'three OSDs are up', async () =>
    (await ceph('osd', 'stat', '-f', 'json')).includes(`"num_up_osds":${OSDS}`),
  );
  await ceph('osd', 'pool', 'create', POOL, `${PLACEMENT_GROUPS}`, `${PLACEMENT_GROUPS}`);
  await daemons.ready(START_DEADLINE_MS, 'all placement groups are active', async () =>
    placementIsClean(await ceph('status', '-f', 'json')),
  );
  await rbd('pool', 'init', POOL);
  await rbdVolumes(config).volumes.create(VOLUME, sizeBytes);
  return {
    name: 'ceph',
    uri: rbdUri(VOLUME, config),
    ...(await fioAccess(config)),
    pids: [...osds, monitor, manager],
    roles: [...osds.map(() => 'OSD'), 'monitor', 'manager'],
    async snapshot(tag) {
      await rbd('snap', 'create', '--no-progress', `${POOL}/${VOLUME}@${tag}`);
    },
    look: async () => void (await rbd('info', `${POOL}/${VOLUME}`)),
    ...rbdVolumes(config),
    stop: () => daemons.stop(),
  };
}

function rbdUri(image: string, config: string): string {
  return `rbd:${POOL}/${image}:conf=${config}`;
}

/** Clones of format 2, Ceph's default since all clients know it: their snapshot needs no protection. */
function rbdVolumes(config: string): { readonly volumes: Volumes; readonly clones: Clones } {
  const rbd = async (...words: string[]): Promise<void> => {
    await runClient('rbd', ['-c', config, ...words], {}, COMMAND_DEADLINE_MS);
  };
  return {
    volumes: {
      create: (name, sizeBytes) =>
        rbd('create', '--size', `${Math.ceil(sizeBytes / MIB)}M`, `${POOL}/${name}`),
      at: (name) => ({ uri: rbdUri(name, config) }),
      remove: (name) => rbd('rm', '--no-progress', `${POOL}/${name}`),
      look: () => rbd('info', `${POOL}/${VOLUME}`),
    },
    clones: {
      snapshot: (image, tag) => rbd('snap', 'create', '--no-progress', `${POOL}/${image}@${tag}`),
      clone: (image, tag, clone) =>
        rbd('clone', '--rbd-default-clone-format', '2', `${POOL}/${image}@${tag}`, `${POOL}/${clone}`),
      removeSnapshot: (image, tag) => rbd('snap', 'rm', '--no-progress', `${POOL}/${image}@${tag}`),
    },
  };
}

async function startMonitor(daemons: PeerDaemons, config: string, sizeBytes: number): Promise<number> {
  const [port, oldPort] = (await freePorts(2)) as [number, number];
  const fsid = randomUUID();
  const storeBytes = Math.max(STORE_BYTES_MIN, sizeBytes * STORE_PER_BYTE);
  writeFileSync(config, cephConfig({ folder: daemons.folder, fsid, port, oldPort, storeBytes }));
  for (const name of ['mon', 'mgr', 'crash', 'osd0', 'osd1', 'osd2']) mkdirSync(daemons.path(name));
  const map = daemons.path('monmap');
  const addresses = `[v2:127.0.0.1:${port},v1:127.0.0.1:${oldPort}]`;
  await runClient('monmaptool', ['--create', '--addv', 'a', addresses, '--fsid', fsid, map]);
  await runClient('ceph-mon', ['-c', config, '-i', 'a', '--mkfs', '--monmap', map]);
  const pid = daemons.start('mon', 'ceph-mon', ['-c', config, '-i', 'a', '-f']);
  await daemons.ready(START_DEADLINE_MS, 'the monitor answers', async () => {
    const answer = await runClient('ceph', ['-c', config, '--connect-timeout', '10', 'quorum_status']);
    return answer.includes('"quorum_names":["a"]');
  });
  return pid;
}

export interface CephPlace {
  readonly folder: string;
  readonly fsid: string;
  readonly port: number;
  readonly oldPort: number;
  readonly storeBytes: number;
}

/** Addresses, paths, and the few settings that make three copies on one machine possible. */
export function cephConfig({ folder, fsid, port, oldPort, storeBytes }: CephPlace): string {
  const lines = {
    global: {
      fsid,
      'mon host': `[v2:127.0.0.1:${port}/0,v1:127.0.0.1:${oldPort}/0]`,
      'mon initial members': 'a',
      'public addr': '127.0.0.1',
      'cluster addr': '127.0.0.1',
      'auth cluster required': 'none',
      'auth service required': 'none',
      'auth client required': 'none',
      'run dir': folder,
      'admin socket': `${folder}/$name.asok`,
      'pid file': '',
      'log file': `${folder}/$name.log`,
      'mon cluster log file': `${folder}/cluster.log`,
      'crash dir': `${folder}/crash`,
      'mon data': `${folder}/mon`,
      'mgr data': `${folder}/mgr`,
      'osd data': `${folder}/osd$id`,
      'osd objectstore': 'bluestore',
      'bluestore block size': storeBytes,
      'osd pool default size': OSDS,
      'osd pool default min size': 2,
      'osd pool default pg autoscale mode': 'off',
      'osd crush chooseleaf type': 0,
      'crush location': 'root=default host=local',
    },
    client: { 'admin socket': '', 'log file': '' },
  };
  return Object.entries(lines)
    .map(([section, values]) => {
      const settings = Object.entries(values).map(([key, value]) => `${key} = ${value}\n`);
      return `[${section}]\n${settings.join('')}`;
    })
    .join('');
}

/** Out of `ceph status -f json`: there are placement groups, and every one can be written on all its copies. */
export function placementIsClean(status: string): boolean {
  const { pgmap } = JSON.parse(status) as {
    pgmap: { num_pgs: number; pgs_by_state: { state_name: string; count: number }[] };
  };
  const clean = pgmap.pgs_by_state.find((state) => state.state_name === 'active+clean');
  return pgmap.num_pgs >= PLACEMENT_GROUPS && clean?.count === pgmap.num_pgs;
}

async function fioAccess(config: string): Promise<Pick<Target, 'fio' | 'fioMissing'>> {
  const engines = fioEngines(await runClient('fio', ['--enghelp']).catch(() => ''));
  if (!engines.includes('rbd')) return { fioMissing: 'this fio has no rbd engine' };
  const words = ['--ioengine=rbd', `--pool=${POOL}`, `--rbdname=${VOLUME}`, '--clientname=admin'];
  // fio passes no configuration on; librados looks here.
  return { fio: { words, env: { CEPH_CONF: config } } };
}
