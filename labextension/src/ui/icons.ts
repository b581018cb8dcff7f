import { LabIcon } from '@jupyterlab/ui-components';
import dashboard from '../../style/icons/dashboard.svg';
import inference from '../../style/icons/inference.svg';
import plot from '../../style/icons/plot.svg';
import { NAMESPACE } from '../tokens';

export const inferenceIcon = new LabIcon({ name: `${NAMESPACE}:inference`, svgstr: inference });
export const dashboardIcon = new LabIcon({ name: `${NAMESPACE}:dashboard`, svgstr: dashboard });
export const plotIcon = new LabIcon({ name: `${NAMESPACE}:plot`, svgstr: plot });
