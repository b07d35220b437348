// Who is connected to the gateways: #/connections?path=…, and one of them, #/connections/<id>.
import { list } from './connections/list.js';
import { one } from './connections/one.js';

export const title = 'Connections';

export const open = (view, context) => context.rest.length ? one(view, context) : list(view, context);
