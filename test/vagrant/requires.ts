import { test } from 'uvu';
import { requiresLibvirtd } from '../helpers/libvirtd.js';
import { canMakeHosts } from '../helpers/netns.js';
import { requires } from '../helpers/requires.js';

const tools = ['ip', 'etcd', 'etcdctl', 'setsid', 'setpriv', 'qemu-io', 'hostname'];
const able = requiresLibvirtd(test, ...tools);

/** `test`, or a skip by name where the machines cannot be made, or a program they run is missing. */
export const farmTest = able !== test || canMakeHosts() ? able : requires(test, 'ip netns');
