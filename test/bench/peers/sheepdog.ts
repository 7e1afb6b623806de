/**
 * C Sheepdog, which no present distribution packages: by the binaries that the command line names. Three sheep on one
 * machine that find each other by a file, each writing with O_DSYNC, as is its default.
 */
import { mkdirSync } from 'node:fs';
import { freePorts } from '../../helpers/launcher.js';
import { runClient } from '../clients.js';
import { type Clones, type Target, VOLUME, type Volumes } from '../targets.js';
import { type PeerDaemons, withDaemons } from './daemons.js';

const SHEEP = 3;
const START_DEADLINE_MS = 30_000;

export interface SheepdogPrograms {
  readonly sheep: string;
  readonly dog: string;
  /** Of a QEMU up to 6.0, the last one with the driver. */
  readonly qemuImg: string;
}

export function startSheepdog(sizeBytes: number, programs: SheepdogPrograms): Promise<Target> {
  return withDaemons((daemons) => startIn(daemons, sizeBytes, programs));
}

async function startIn(daemons: PeerDaemons, sizeBytes: number, programs: SheepdogPrograms): Promise<Target> {
  const port = await freePorts(SHEEP);
  const dog = (...words: string[]) => runClient(programs.dog, [...words, '-a', '127.0.0.1', '-p', `${port}`]);
  const pids: number[] = [];
  for (let index = 0; index < SHEEP; index++) {
    const store = daemons.path(`store${index}`);
    mkdirSync(store);
    pids.push(daemons.start(`sheep${index}`, programs.sheep, sheepWords(daemons.folder, port, index)));
  }
  await daemons.ready(START_DEADLINE_MS, 'three sheep are there', async () => {
    const list = await dog('node', 'list', '-r');
    return list.trim().split('\n').length === SHEEP;
  });
  await dog('cluster', 'format', '-c', `${SHEEP}`);
  await dog('vdi', 'create', VOLUME, `${sizeBytes}`);
  return {
    name: 'sheepdog',
    uri: sheepdogUri(port, VOLUME),
    qemuImg: programs.qemuImg,
    fioMissing: 'only an old QEMU is its client here',
    pids,
    roles: pids.map(() => 'sheep'),
    async snapshot(tag) {
      await dog('vdi', 'snapshot', VOLUME, '-s', tag);
    },
    look: async () => void (await dog('vdi', 'list', VOLUME)),
    ...dogVolumes(async (...words) => void (await dog('vdi', ...words)), port, programs.qemuImg),
    stop: () => daemons.stop(),
  };
}

function sheepdogUri(port: number, volume: string): string {
  return `sheepdog://127.0.0.1:${port}/${volume}`;
}

function dogVolumes(
  vdi: (...words: string[]) => Promise<void>,
  port: number,
  qemuImg: string,
): { readonly volumes: Volumes; readonly clones: Clones } {
  return {
    volumes: {
      create: (name, sizeBytes) => vdi('create', name, `${sizeBytes}`),
      at: (name) => ({ uri: sheepdogUri(port, name), qemuImg }),
      remove: (name) => vdi('delete', name),
      look: () => vdi('list', VOLUME),
    },
    clones: {
      snapshot: (volume, tag) => vdi('snapshot', volume, '-s', tag),
      clone: (volume, tag, clone) => vdi('clone', '-s', tag, volume, clone),
      removeSnapshot: (volume, tag) => vdi('delete', '-s', tag, volume),
    },
  };
}

/** One zone each: no two copies in the same sheep. */
export function sheepWords(folder: string, port: number, index: number): string[] {
  const address = ['-b', '127.0.0.1', '-y', '127.0.0.1', '-p', `${port + index}`];
  return ['-f', '-c', `local:${folder}/members`, '-z', `${index}`, ...address, `${folder}/store${index}`];
}
