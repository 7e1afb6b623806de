import type { Finding } from '../../control/doctor-api.js';
import type { NbdPlace } from '../domain-xml.js';
import { isReachedAnywhere } from './arrival.js';
import type { MovingDisk } from './facts.js';
import type { Rule } from './rule.js';

/** Rules about disks that are no volumes of the cluster. */

type Content<K> = Extract<MovingDisk['content'], { kind: K }>;

const disks: Rule = ({ domain }) =>
  domain.disks.flatMap(({ content, target, writable }): Finding[] => {
    const where = `The disk ${target} of ${domain.name}`;
    switch (content.kind) {
      case 'file':
        return file(where, domain.name, content, writable);
      case 'device':
        return [
          risk('device-there', `${where} is the device ${content.path}`, 'the same disk at the same place'),
        ];
      case 'pool':
        return [
          risk(
            'pool-there',
            `${where} is in the storage pool ${content.name}`,
            'that pool with the same content',
          ),
        ];
      case 'nbd':
        return served(where, content);
      case 'other':
        return [local(`${where} is of type ${content.type}, which stays on its host.`, domain.name)];
      default:
        return [];
    }
  });

function file(
  where: string,
  name: string,
  { path, fileSystem }: Content<'file'>,
  writable: boolean,
): Finding[] {
  if (fileSystem === 'shared') return [];
  const what = `${where} is the file ${path}`;
  if (!writable) return [risk('file-there', what, 'the same file at the same place')];
  const sure = fileSystem === 'local' ? '' : ', as far as can be told from here';
  return [local(`${what}, which the destination does not have${sure}.`, name)];
}

function served(where: string, { nbd }: Content<'nbd'>): Finding[] {
  if (isReachedAnywhere(nbd.place)) return [];
  const what = `${where} is ${nbd.exportName} at ${placeText(nbd.place)}, and no volume of this cluster`;
  const next = {
    command: 'dog vm migrate -a HOST -p PORT ...',
    effect: 'Asks the cluster whose volume it is, if it is one.',
  };
  return [{ ...risk('nbd-there', what, 'the same server there'), next }];
}

function risk(rule: string, what: string, needs: string): Finding {
  return { rule, severity: 'risk', text: `${what}: the destination needs ${needs}.` };
}

function local(text: string, name: string): Finding {
  const next = {
    command: `dog vm attach ${name} VOLUME`,
    effect: 'Gives it a volume in place of the disk: copy what is on it, then detach the old one.',
  };
  return { rule: 'disk-local', severity: 'bad', text, next };
}

function placeText(place: NbdPlace): string {
  return 'socket' in place ? place.socket : `${place.host}:${place.port}`;
}

export const diskRules: readonly Rule[] = [disks];
