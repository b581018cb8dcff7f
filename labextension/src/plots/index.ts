export * from './contract';
export { attach, type IAttached } from './attach';
export { livePlots } from './live';
export { Slowest, type ISlowestOptions } from './slowest';
export { type IToolbarOptions, toolbar } from './toolbar';
