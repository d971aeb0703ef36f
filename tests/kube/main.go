// Command kube is what a test needs of Kubernetes in one binary: etcd, the API server, the controllers, the scheduler, the kubelet and
// kubectl.
//
//	kube etcd|apiserver|controllers|scheduler|kubelet|kubectl FLAGS…
//
// The flags are those of the programs themselves. The servers end when their standard input closes, so that none outlives the test run
// that started it, however that run ended. kubectl reads its standard input, as always.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net/url"
	"os"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/embed"
	"k8s.io/component-base/cli"
	kubectl "k8s.io/kubectl/pkg/cmd"
	"k8s.io/kubectl/pkg/cmd/util"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

const programs = "etcd, apiserver, controllers, scheduler, kubelet or kubectl"

func main() {
	if len(os.Args) < 2 {
		fail("which program? " + programs)
	}
	program, args := os.Args[1], os.Args[2:]
	switch program {
	case "etcd":
		endWithStandardInput()
		fail(etcd(args).Error())
	case "apiserver":
		run(apiserver.NewAPIServerCommand(), args)
	case "controllers":
		run(controllers.NewControllerManagerCommand(), args)
	case "scheduler":
		run(scheduler.NewSchedulerCommand(), args)
	case "kubelet":
		run(kubelet.NewKubeletCommand(context.Background()), args)
	case "kubectl":
		os.Args = append([]string{"kubectl"}, args...)
		if err := cli.RunNoErrOutput(kubectl.NewDefaultKubectlCommand()); err != nil {
			util.CheckErr(err)
		}
	default:
		fail("there is no program " + program + ": " + programs)
	}
}

// Runs a server until its standard input closes, or it fails.
func run(server *cobra.Command, args []string) {
	endWithStandardInput()
	server.SetArgs(args)
	os.Exit(cli.Run(server))
}

// Serves until it fails. The flags, a few of etcd's own, have the names that the program etcd gives them.
func etcd(args []string) error {
	config := embed.NewConfig()
	urls := map[string]*[]url.URL{
		"listen-client-urls":    &config.ListenClientUrls,
		"advertise-client-urls": &config.AdvertiseClientUrls,
		"listen-peer-urls":      &config.ListenPeerUrls,
	}
	flags := flag.NewFlagSet("etcd", flag.ExitOnError)
	flags.StringVar(&config.Dir, "data-dir", "", "where the data is kept")
	flags.BoolVar(&config.UnsafeNoFsync, "unsafe-no-fsync", false, "never wait for the disk")
	for name, place := range urls {
		flags.Func(name, "one URL", func(text string) error {
			parsed, err := url.Parse(text)
			if err == nil {
				*place = []url.URL{*parsed}
			}
			return err
		})
	}
	if err := flags.Parse(args); err != nil {
		return err
	}
	server, err := embed.StartEtcd(config)
	if err != nil {
		return err
	}
	return <-server.Err()
}

// The exit is at once: what a test server holds is thrown away.
func endWithStandardInput() {
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
}

func fail(reason string) {
	fmt.Fprintln(os.Stderr, "kube: "+reason)
	os.Exit(1)
}
